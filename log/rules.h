// The rules that recovery relies on (STORAGE.md), each by a name. Tests build the files that keep
// them once more with TIDELOG_BREAKABLE_RULES, break one rule at a time, and see that some test
// notices (tests/log/broken_rules_test.cc). In what is shipped none can be broken: broken() is a
// constant.
#pragma once

#include <cstdint>

namespace tidelog::log {

enum class Rule : std::uint8_t {
  // --- The journal.
  kJournalWritesAreStable,    // a write is complete when it is on stable storage
  kContiguousPrefix,          // a log acknowledges up to the first write that is not complete
  kFailedWriteIsNoWrite,      // final, or written again: never complete
  kTailNamesWhatIsNeeded,     // no write is below the tail while a log needs it
  kTailIsStableFirst,         // the write that tells it is complete before space below is used
  kReserveForTheTail,         // the write that tells the tail always finds room
  kDurableEndsAreDurable,     // in entries
  kDurableSequenceIsDurable,  // in write headers
  kQuietWrite,                // what is durable is proven after 50 ms
  kGrownJournalIsNamed,       // a new file, before it takes a write
  kZerosBeforeTheHeader,      // it promises that the whole file is there
  kJournalHeadersApart,       // one copy is stable before the other is written
  // --- Segments.
  kSegmentIsSynced,     // before bytes leave the journal
  kFailedSyncIsFinal,   // no sync behind it makes stable what it was to
  kNewSegmentIsSynced,  // its first block, before it takes a write
  kNewSegmentIsNamed,   // its name, likewise
  kSealedIsCut,         // to its size, before the next one is made
  kSealedIsSynced,      // likewise
  kNoOverlap,           // no block is written twice
  kPromiseNotAboveOwn,  // a write's durable end is not above its own end
  kAppendBehindCut,     // behind a cut the journal has an append before a segment has
  // --- Truncation.
  kCutIsJournalled,    // durably, before files change
  kCutBeforeAppends,   // the files are cut before appends go on
  kCutIsSynced,        // likewise
  kCutRemovesIndex,    // of the segment that is cut
  kCutIsCheckpointed,  // before the journal forgets it
  // --- Small files.
  kCheckpointNotAhead,   // of what segments hold
  kSmallFilesAreSynced,  // before they count
  kSmallFilesAreNamed,   // likewise
  kOlderCopyGoes,        // a checkpoint replaces the older copy
  // --- Clean stop.
  kMarkerOnlyWhenTrue,     // a stop without space for everything leaves none
  kMarkerGoesFirst,        // before what it says changes
  kMarkerRemovalIsSynced,  // likewise
  // --- Creation, removal, retention.
  kDirectoryIsNamed,      // before the catalog lists the log
  kRemovalIsMarked,       // in the catalog, before files go
  kStruckOutWhenGone,     // the catalog forgets a log when its files have gone
  kEntriesOfThisLife,     // entries of an earlier life of the partition do not count
  kCheckpointOfThisLife,  // neither do its checkpoints
  kStartIsDurableFirst,   // before segments below it go
  kStartInBothCopies,     // of the checkpoint, likewise
  kLastIndexIsSynced,     // before the segment goes whose producers it knows
  kLastIndexStays,        // until the next one
  kReadersKeepFiles,      // a segment goes when nobody reads it
  // --- What a start takes over.
  kFoundIsSynced,           // segments and names, before a checkpoint says so
  kFoundJournalIsSynced,    // likewise
  kFoundCopyIsSynced,       // the copy that counts of a small file, likewise
  kHeadersBeforeBatches,    // new segments are stable before the replay writes to them
  kCheckpointBeforeNewIds,  // what only journals knew, before they are emptied
  kNewJournalIds,           // an emptied journal has another id
  kMissingJournalsFirst,    // what a header names is there
  kOnlyDenseJournalsGoOn,   // from the tail on all writes are there
  kCutsAreFinishedFirst,    // a journal with a cut is emptied
  // --- What a start believes.
  kJournalIdCounts,     // writes of another id do not count
  kFileIdCounts,        // in segments, likewise
  kIndexFileIdCounts,   // likewise
  kWholeWrites,         // the records of each batch verify
  kEntryBindsBatches,   // an entry counts with its own batches only
  kNoGaps,              // an entry that does not continue its log was never acknowledged
  kNothingAboveACut,    // entries from before a cut end there
  kCutIsDoneAgain,      // one without a later append
  kTornTailIsCut,       // before appends go on
  kUnfinishedGoes,      // a segment whose making was cut short
  kUncountedIndexGoes,  // an index that does not fit now may fit by chance later
  // --- Loss.
  kLossIsNeverCut,         // a log that ends below what was promised takes no records
  kEntriesPromise,         // what entries say was durable
  kSegmentHeadersPromise,  // and segment headers, also behind an unsound write
  kLostWritesCount,        // of what a lost write held nothing is known
  kCount
};

#ifdef TIDELOG_BREAKABLE_RULES
// A namespace of its own, so that no object file takes the one function for the other.
inline namespace breakable {
// Whether the test broke this rule.
bool broken(Rule rule);
}  // namespace breakable
#else
constexpr bool broken(Rule /*rule*/) { return false; }
#endif

}  // namespace tidelog::log
