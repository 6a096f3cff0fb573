// What this machine's disk and loopback allow, measured with as little between us and the kernel as
// possible. Every figure of bench/run is read beside these, taken in the same run.
#pragma once

#include <string>
#include <vector>

namespace tidelog::bench {

// One figure, and what it is in a sentence.
struct Limit {
  std::string name;  // stable: bench/run refers to it
  double value = 0;
  int digits = 0;  // behind the point, when it is printed
  std::string meaning;
};
using Limits = std::vector<Limit>;

// D and F, F2. Uses two files of 256 MiB in `directory`, removed afterwards. Each measurement takes
// about `seconds`. Ends the process with a message where the directory does not allow direct I/O.
Limits measure_disk(const std::string& directory, double seconds);

// F256. Uses 256 files of 256 KiB in `directory`, removed afterwards.
Limits measure_many_files(const std::string& directory, double seconds);

// R and N.
Limits measure_loopback(double seconds);

// B and B1, for 64 KiB and for 1 KiB at 1, 32 and 512 outstanding. Uses a file of 256 MiB as
// measure_disk().
Limits measure_floor(const std::string& directory, double seconds);

}  // namespace tidelog::bench
