#include "base/logging.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace tidelog {
namespace {

using testing::HasSubstr;
using testing::Not;

class LoggingTest : public testing::Test {
 protected:
  ~LoggingTest() override { stop_logging(); }
};

TEST_F(LoggingTest, WritesWhatIsAboveItsLevelBeforeItStops) {
  testing::internal::CaptureStderr();
  start_logging(LogLevel::kWarning);
  log_info("too quiet");
  log_warning("braces {} are text");
  log_error("loud");
  stop_logging();
  stop_logging();
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, HasSubstr("warning braces {} are text\n"));
  EXPECT_THAT(text, HasSubstr("error loud\n"));
  EXPECT_THAT(text, Not(HasSubstr("too quiet")));
}

TEST_F(LoggingTest, CountsTheLinesOfEachLevelThatItsLevelLetsPass) {
  testing::internal::CaptureStderr();
  start_logging(LogLevel::kWarning);
  const std::uint64_t infos = logged_lines(LogLevel::kInfo);
  const std::uint64_t warnings = logged_lines(LogLevel::kWarning);
  const std::uint64_t errors = logged_lines(LogLevel::kError);
  log_info("too quiet");
  log_warning("one");
  log_warning("two");
  log_error("three");
  stop_logging();
  (void)testing::internal::GetCapturedStderr();
  EXPECT_EQ(logged_lines(LogLevel::kInfo), infos);
  EXPECT_EQ(logged_lines(LogLevel::kWarning), warnings + 2);
  EXPECT_EQ(logged_lines(LogLevel::kError), errors + 1);
  EXPECT_EQ(logged_lines(LogLevel::kOff), 0U);
}

TEST_F(LoggingTest, WritesAtOnceWithoutItsThread) {
  testing::internal::CaptureStderr();
  log_error("early");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "early\n");
}

TEST_F(LoggingTest, WritesFieldsBehindTheSentenceQuotedWhereTheyHaveTo) {
  testing::internal::CaptureStderr();
  start_logging(LogLevel::kInfo);
  log_info("served", {{"broker", "1"}, {"path", "a \"b\"\n"}, {"empty", ""}});
  stop_logging();
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr(R"(info served broker=1 path="a \"b\"\n" empty="")"
                        "\n"));
}

TEST_F(LoggingTest, WritesOneJsonObjectALineWithItsStableKeysFirst) {
  testing::internal::CaptureStderr();
  start_logging(LogLevel::kDebug, LogFormat::kJson);
  log_debug("two\nlines and \"quotes\"", {{"peer", "[::1]:5"}});
  std::thread([] {
    pthread_setname_np(pthread_self(), "shard-3");
    log_error("not UTF-8: \xff");
  }).join();
  stop_logging();
  std::istringstream lines(testing::internal::GetCapturedStderr());
  std::vector<nlohmann::ordered_json> objects;
  for (std::string line; std::getline(lines, line);) {
    objects.push_back(nlohmann::ordered_json::parse(line));
  }
  ASSERT_EQ(objects.size(), 2U);
  EXPECT_EQ(objects[0].at("level"), "debug");
  EXPECT_EQ(objects[0].at("message"), "two\nlines and \"quotes\"");
  EXPECT_EQ(objects[0].at("peer"), "[::1]:5");
  EXPECT_EQ(objects[1].at("thread"), "shard-3");
  EXPECT_EQ(objects[1].at("message"), "not UTF-8: \xEF\xBF\xBD");
  for (const auto& object : objects) {
    std::vector<std::string> keys;
    for (const auto& [key, value] : object.items()) keys.push_back(key);
    keys.resize(4);
    EXPECT_THAT(keys, testing::ElementsAre("time", "level", "thread", "message"));
    EXPECT_THAT(object.at("time").get<std::string>(),
                testing::MatchesRegex("....-..-..T..:..:..\\.....*[+-]..:.."));
  }
}

TEST_F(LoggingTest, ChangesItsLevelWhileItRuns) {
  testing::internal::CaptureStderr();
  start_logging(LogLevel::kError);
  log_info("before");
  set_log_level(LogLevel::kDebug);
  log_debug("after");
  stop_logging();
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, Not(HasSubstr("before")));
  EXPECT_THAT(text, HasSubstr("debug after\n"));
}

TEST_F(LoggingTest, NeverBlocksWhenStderrDoesAndCountsWhatItDropped) {
  // A pipe that nobody reads: its writer, the logging thread, blocks after 64 KiB.
  int pipe[2];
  ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
  const int saved = ::dup(STDERR_FILENO);
  ASSERT_GE(::dup2(pipe[1], STDERR_FILENO), 0);
  start_logging(LogLevel::kInfo);
  const std::uint64_t dropped_before = dropped_log_lines();
  for (int i = 0; i < 20'000; ++i) log_info(std::string(100, 'x'));
  const std::uint64_t dropped = dropped_log_lines() - dropped_before;

  std::thread reader([fd = pipe[0]] {
    std::vector<char> bytes(64 * 1024);
    while (::read(fd, bytes.data(), bytes.size()) > 0) {
    }
  });
  stop_logging();
  ::dup2(saved, STDERR_FILENO);
  ::close(saved);
  ::close(pipe[1]);
  reader.join();
  ::close(pipe[0]);
  EXPECT_GT(dropped, 10'000U);
  EXPECT_LT(dropped, 20'000U);
}

}  // namespace
}  // namespace tidelog
