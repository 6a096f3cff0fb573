// Standard input, output and error of the process.
#pragma once

namespace tidelog::tools {

// Puts /dev/null where one of the three is closed, as `tidelog broker 2>&-` leaves it. Else the
// next file or socket would get that number, and log lines would be written into a journal.
// Reading such a standard input and writing such a standard output fails; what goes to standard
// error is dropped. REQUIRES: nothing was opened yet.
void open_missing_standard_streams();

}  // namespace tidelog::tools
