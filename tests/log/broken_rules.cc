// Which test notices when a rule of the storage (log/rules.h) is broken.
#include "tests/log/broken_rules.h"

#include <fmt/core.h>

#include <array>

namespace tidelog::log {
namespace {

constexpr auto kCases = std::to_array<RuleCase>({
    {Rule::kJournalWritesAreStable, "kJournalWritesAreStable",
     "a write is complete when it is on stable storage", 1, ""},
    {Rule::kContiguousPrefix, "kContiguousPrefix",
     "a log acknowledges up to the first write that is not complete", 1, ""},
    {Rule::kFailedWriteIsNoWrite, "kFailedWriteIsNoWrite",
     "final, or written again: never complete", 10, ""},
    {Rule::kTailNamesWhatIsNeeded, "kTailNamesWhatIsNeeded",
     "no write is below the tail while a log needs it", 1, ""},
    {Rule::kTailIsStableFirst, "kTailIsStableFirst",
     "the write that tells it is complete before the space below it is used again", 0,
     "CrashScenarioTest.APowerCutWhileTheRingComesRoundLosesNoWriteThatMayBeNeeded"},
    {Rule::kReserveForTheTail, "kReserveForTheTail",
     "the write that tells the tail always finds room", 8, ""},
    {Rule::kDurableEndsAreDurable, "kDurableEndsAreDurable", "in entries", 1, ""},
    {Rule::kDurableSequenceIsDurable, "kDurableSequenceIsDurable", "in write headers", 14, ""},
    {Rule::kQuietWrite, "kQuietWrite", "what is durable is proven after 50 ms", 0,
     "LogDamageTest.RotInAJournalWriteBehindAQuietWriteIsLossNotATornTail"},
    {Rule::kGrownJournalIsNamed, "kGrownJournalIsNamed", "a new file, before it takes a write", 6,
     ""},
    {Rule::kZerosBeforeTheHeader, "kZerosBeforeTheHeader",
     "it promises that the whole file is there", 0,
     "CrashScenarioTest.APowerCutAtAnyStepOfTheRingsGrowthLosesNoJournal"},
    {Rule::kJournalHeadersApart, "kJournalHeadersApart",
     "one copy is stable before the other is written", 0,
     "CrashScenarioTest.APowerCutAtAnyStepOfTheRingsGrowthLosesNoJournal"},
    {Rule::kSegmentIsSynced, "kSegmentIsSynced", "before bytes leave the journal", 1, ""},
    {Rule::kFailedSyncIsFinal, "kFailedSyncIsFinal",
     "no sync behind it makes stable what it was to", 0,
     "CrashScenarioTest.TheJournalForgetsNothingOfWhichTheSegmentsSyncFailed"},
    {Rule::kNewSegmentIsSynced, "kNewSegmentIsSynced", "its first block, before it takes a write",
     149, ""},
    {Rule::kNewSegmentIsNamed, "kNewSegmentIsNamed", "its name, before it takes a write", 1, ""},
    {Rule::kSealedIsCut, "kSealedIsCut", "to its size, before the next one is made", 14, ""},
    {Rule::kSealedIsSynced, "kSealedIsSynced", "and stable, before the next one is made", 73, ""},
    {Rule::kNoOverlap, "kNoOverlap", "no block is written twice", 1, ""},
    {Rule::kPromiseNotAboveOwn, "kPromiseNotAboveOwn",
     "a write's durable end is not above its own end", 0,
     "CleanStopTest.ATruncationInTheJournalStaysOneOverIt"},
    {Rule::kAppendBehindCut, "kAppendBehindCut",
     "behind a cut the journal has an append before a segment has", 0,
     "HistoryFindingsTest.WhatIsAppendedBehindACutWhileTheRingIsFullSurvives"},
    {Rule::kCutIsJournalled, "kCutIsJournalled", "durably, before files change", 7, ""},
    {Rule::kCutBeforeAppends, "kCutBeforeAppends", "the files are cut before appends go on", 4, ""},
    {Rule::kCutIsSynced, "kCutIsSynced", "and the cut is stable, before appends go on", 45, ""},
    {Rule::kCutRemovesIndex, "kCutRemovesIndex", "of the segment that is cut", 18, ""},
    {Rule::kCutIsCheckpointed, "kCutIsCheckpointed", "before the journal forgets it", 26, ""},
    {Rule::kCheckpointNotAhead, "kCheckpointNotAhead", "of what segments hold", 16, ""},
    {Rule::kSmallFilesAreSynced, "kSmallFilesAreSynced", "before they count", 1, ""},
    {Rule::kSmallFilesAreNamed, "kSmallFilesAreNamed", "their names are stable before they count",
     106, ""},
    {Rule::kOlderCopyGoes, "kOlderCopyGoes", "a checkpoint replaces the older copy", 0,
     "CrashScenarioTest.APowerCutAtAnyStepOfACheckpointLeavesTheOneBefore"},
    {Rule::kMarkerOnlyWhenTrue, "kMarkerOnlyWhenTrue",
     "a stop without space for everything leaves none", 0,
     "CrashScenarioTest.AStopThatGaveUpLeavesNoMarker"},
    {Rule::kMarkerGoesFirst, "kMarkerGoesFirst", "before what it says changes", 10, ""},
    {Rule::kMarkerRemovalIsSynced, "kMarkerRemovalIsSynced",
     "and its removal is stable, before that changes", 30, ""},
    {Rule::kDirectoryIsNamed, "kDirectoryIsNamed", "before the catalog lists the log", 1, ""},
    {Rule::kRemovalIsMarked, "kRemovalIsMarked", "in the catalog, before files go", 9, ""},
    {Rule::kStruckOutWhenGone, "kStruckOutWhenGone",
     "the catalog forgets a log when its files have gone", 22, ""},
    {Rule::kEntriesOfThisLife, "kEntriesOfThisLife",
     "entries of an earlier life of the partition do not count", 108, ""},
    {Rule::kCheckpointOfThisLife, "kCheckpointOfThisLife", "neither do its checkpoints", 6, ""},
    {Rule::kStartIsDurableFirst, "kStartIsDurableFirst", "before segments below it go", 4, ""},
    {Rule::kStartInBothCopies, "kStartInBothCopies",
     "of the checkpoint, before segments below it go", 0,
     "RetentionTest.RotInTheNewestCheckpointMakesNoRemovedSegmentLookLost"},
    {Rule::kLastIndexIsSynced, "kLastIndexIsSynced",
     "before the segment goes whose producers it knows", 167, ""},
    {Rule::kLastIndexStays, "kLastIndexStays", "until the next one", 167, ""},
    {Rule::kReadersKeepFiles, "kReadersKeepFiles", "a segment goes when nobody reads it", 0,
     "RetentionTest.AReadUnderWayKeepsTheFileUntilItEnds"},
    {Rule::kFoundIsSynced, "kFoundIsSynced", "segments and names, before a checkpoint says so", 4,
     ""},
    {Rule::kFoundJournalIsSynced, "kFoundJournalIsSynced", "and journals, before they count", 0,
     "LogCrashTest.APowerCutAfterAKillAndARestartKeepsWhatTheRestartFound"},
    {Rule::kFoundCopyIsSynced, "kFoundCopyIsSynced",
     "the copy that counts of a small file, before it counts", 0,
     "LogCrashTest.APowerCutAfterAKillAndARestartKeepsWhatTheRestartFound"},
    {Rule::kHeadersBeforeBatches, "kHeadersBeforeBatches",
     "new segments are stable before the replay writes to them", 0,
     "CrashScenarioTest.APowerCutAtAnyStepOfAReplayLeavesNoSegmentWithoutAHeader"},
    {Rule::kCheckpointBeforeNewIds, "kCheckpointBeforeNewIds",
     "what only journals knew, before they are emptied", 105, ""},
    {Rule::kNewJournalIds, "kNewJournalIds", "an emptied journal has another id", 7, ""},
    {Rule::kMissingJournalsFirst, "kMissingJournalsFirst", "what a header names is there", 6, ""},
    {Rule::kOnlyDenseJournalsGoOn, "kOnlyDenseJournalsGoOn",
     "from the tail on all writes are there", 1, ""},
    {Rule::kCutsAreFinishedFirst, "kCutsAreFinishedFirst", "a journal with a cut is emptied", 0,
     "*CutOfAnEarlierLifeTest.*Kill*"},
    {Rule::kJournalIdCounts, "kJournalIdCounts", "writes of another id do not count", 7, ""},
    {Rule::kFileIdCounts, "kFileIdCounts", "in segments, writes of another id do not count", 0,
     "CrashScenarioTest.WritesOfAnEarlierLifeOfTheFileDoNotCount"},
    {Rule::kIndexFileIdCounts, "kIndexFileIdCounts", "an index of another id does not count", 0,
     "CrashScenarioTest.AnIndexOfAnEarlierLifeOfTheFileDoesNotCount"},
    {Rule::kWholeWrites, "kWholeWrites", "the records of each batch verify", 82, ""},
    {Rule::kEntryBindsBatches, "kEntryBindsBatches", "an entry counts with its own batches only", 0,
     "CrashScenarioTest.AnEntryDoesNotCountWithTheBatchesOfAnOlderWrite"},
    {Rule::kNoGaps, "kNoGaps", "an entry that does not continue its log was never acknowledged", 1,
     ""},
    {Rule::kNothingAboveACut, "kNothingAboveACut", "entries from before a cut end there", 55, ""},
    {Rule::kCutIsDoneAgain, "kCutIsDoneAgain", "one without a later append", 414, ""},
    {Rule::kTornTailIsCut, "kTornTailIsCut", "before appends go on", 414, ""},
    {Rule::kUnfinishedGoes, "kUnfinishedGoes", "a segment whose making was cut short", 247, ""},
    {Rule::kUncountedIndexGoes, "kUncountedIndexGoes",
     "an index that does not fit now may fit by chance later", 0,
     "CrashScenarioTest.AnIndexFromBeforeACutNeverFitsTheSegmentThatGrewAgain"},
    {Rule::kLossIsNeverCut, "kLossIsNeverCut",
     "a log that ends below what was promised takes no records", 0,
     "LogDamageTest.AMissingSegmentMakesTheLogLossyNotEmpty"},
    {Rule::kEntriesPromise, "kEntriesPromise", "what entries say was durable", 0,
     "LogDamageTest.RotInAJournalWriteBehindAQuietWriteIsLossNotATornTail"},
    {Rule::kSegmentHeadersPromise, "kSegmentHeadersPromise",
     "and segment headers, also behind an unsound write", 0,
     "CrashScenarioTest.SegmentHeadersBehindADamagedWriteSayThatItWasDurable"},
    {Rule::kLostWritesCount, "kLostWritesCount", "of what a lost write held nothing is known", 0,
     "LogDamageTest.ALostHeaderMakesEveryUnconfirmedLogOfTheShardLossy"},
});
static_assert(kCases.size() == static_cast<std::size_t>(Rule::kCount));

}  // namespace

std::span<const RuleCase> rule_cases() { return kCases; }

std::string rules_as_markdown() {
  std::string page = "| rule | what it says | noticed by |\n|---|---|---|\n";
  for (const RuleCase& rule : kCases) {
    const std::string by = rule.seed != 0 ? fmt::format("random histories, by seed {}", rule.seed)
                                          : fmt::format("`{}`", rule.tests);
    page += fmt::format("| {} | {} | {} |\n", rule.name + 1, rule.text, by);
  }
  return page;
}

}  // namespace tidelog::log
