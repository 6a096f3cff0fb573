// Histories as lines of JSON, one event each, as programs in any language write them:
//
//   {"event": "send", "producer": "p1", "values": ["a", "b"]}
//   {"event": "acknowledged", "partition": "0", "offset": 7, "values": ["a", "b"]}
//   {"event": "failed", "values": ["c"]}
//   {"event": "assign", "consumer": "c1", "partition": "0", "offset": 0}
//   {"event": "polled", "consumer": "c1", "partition": "0", "offset": 7, "values": ["a", "b"]}
//   {"event": "ended", "partition": "0", "offset": 9}
//   {"event": "may_trim", "partition": "0", "offset": 3}      also may_cut, cut
//
// Several values lie one behind the other, from `offset` on; "value" may stand for one.
#pragma once

#include <string_view>

#include "base/result.h"
#include "tests/history/history.h"

namespace tidelog::history {

// Tells `checker` the event in `line`. Fails with kInvalidArgument: no such event, a field is
// missing or of another type, or the event contradicts what its own producer did.
Result<> apply_line(Checker& checker, std::string_view line);

}  // namespace tidelog::history
