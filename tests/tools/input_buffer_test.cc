#include "tools/input_buffer.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "tools/interrupt.h"

namespace tidelog::tools {
namespace {

using namespace std::string_literals;

// A file in memory that holds `bytes` and is read from its begin.
int file_of(const std::string& bytes) {
  const int fd = memfd_create("input", MFD_CLOEXEC);
  EXPECT_EQ(write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  EXPECT_EQ(lseek(fd, 0, SEEK_SET), 0);
  return fd;
}

std::vector<std::string> split(int fd, const std::string& delimiter) {
  StopEvent never;
  InputBuffer input(fd, never.fd(), "test");
  RecordSplitter splitter(input, delimiter);
  std::vector<std::string> records;
  while (true) {
    const auto record = splitter.next();
    EXPECT_TRUE(record);
    if (!record || !*record) break;
    records.emplace_back(**record);
  }
  close(fd);
  return records;
}

using Records = std::vector<std::string>;

TEST(RecordSplitterTest, KeepsEmptyLinesAndTheLineWithoutNewline) {
  EXPECT_EQ(split(file_of("a\n\nb"), "\n"), (Records{"a", "", "b"}));
  EXPECT_EQ(split(file_of("a\n\nb\n"), "\n"), (Records{"a", "", "b"}));
  EXPECT_EQ(split(file_of("\n"), "\n"), Records{""});
  EXPECT_EQ(split(file_of(""), "\n"), Records{});
  EXPECT_EQ(split(file_of("a\r\n\0b"s), "\n"), (Records{"a\r", "\0b"s}));
}

TEST(RecordSplitterTest, TakesDelimitersOfSeveralBytes) {
  EXPECT_EQ(split(file_of("a--b-c--"), "--"), (Records{"a", "b-c"}));
  EXPECT_EQ(split(file_of("a--b-"), "--"), (Records{"a", "b-"}));
  EXPECT_EQ(split(file_of("a\0b"s), "\0"s), (Records{"a", "b"}));
}

TEST(RecordSplitterTest, FindsDelimitersAcrossBlocks) {
  // The delimiter straddles the end of the first megabyte, and lines are longer than a block.
  for (const std::size_t length : {(1U << 20) - 2, (1U << 20) - 1, 1U << 20, (3U << 20) + 7}) {
    const std::string line(length, 'x');
    EXPECT_EQ(split(file_of(line + "--" + line + "--y"), "--"), (Records{line, line, "y"}))
        << length;
  }
}

TEST(RecordSplitterTest, ReadsAPipeThatTrickles) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  std::thread writer([fd = ends[1]] {
    for (const char c : "one\ntwo\nthr"s) EXPECT_EQ(write(fd, &c, 1), 1);
    close(fd);
  });
  EXPECT_EQ(split(ends[0], "\n"), (Records{"one", "two", "thr"}));
  writer.join();
}

TEST(RecordSplitterTest, EndsWhenItIsStoppedThoughThePipeIsOpen) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(write(ends[1], "a\nb", 3), 3);
  StopEvent stop;
  InputBuffer input(ends[0], stop.fd(), "test");
  RecordSplitter splitter(input, "\n");
  EXPECT_EQ(**splitter.next(), "a");
  std::thread stopper([&stop] { stop.set(); });
  const auto next = splitter.next();
  ASSERT_TRUE(next);
  EXPECT_FALSE(*next);
  stopper.join();
  close(ends[0]);
  close(ends[1]);
}

TEST(RecordSplitterTest, RefusesARecordWithoutEnd) {
  const std::string endless(kInputRecordBytesMax + 1, 'x');
  const int fd = file_of(endless);
  StopEvent never;
  InputBuffer input(fd, never.fd(), "big.txt");
  RecordSplitter splitter(input, "\n");
  const auto record = splitter.next();
  ASSERT_FALSE(record);
  EXPECT_NE(record.error().message().find("big.txt"), std::string::npos);
  close(fd);
}

TEST(InputBufferTest, SaysWhatCannotBeRead) {
  StopEvent never;
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  InputBuffer write_end(ends[1], never.fd(), "pipe.txt");
  close(ends[0]);
  const auto filled = write_end.fill();
  ASSERT_FALSE(filled);
  EXPECT_NE(filled.error().message().find("pipe.txt"), std::string::npos);
  close(ends[1]);
}

}  // namespace
}  // namespace tidelog::tools
