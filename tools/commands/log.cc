// tidelog log: looks at the files of a broker, which may be running.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "log/inspect.h"
#include "log/io/system_file_system.h"
#include "log/repair.h"
#include "tools/commands/commands.h"
#include "tools/confirmation.h"
#include "tools/json_record.h"
#include "tools/json_text.h"
#include "tools/messages.h"
#include "tools/output.h"
#include "tools/quantity.h"
#include "tools/read_progress.h"
#include "wire/compression.h"
#include "wire/limits.h"
#include "wire/record.h"

namespace tidelog::tools {
namespace {

using Json = nlohmann::ordered_json;

struct LogOptions {
  std::string path;
  bool prints_records = false;
  bool is_json = false;
  bool accepts_loss = false;
};

// Unbuffered reads show what the disk holds, not what the kernel remembers; some file systems have
// none.
bool can_read_unbuffered(const std::string& file) {
  const int fd = open(file.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

Json report_as_json(const log::VerifyReport& report) {
  Json partitions = Json::array();
  for (const log::PartitionReport& partition : report.partitions) {
    partitions.push_back({{"path", partition.path},
                          {"batches", partition.batches},
                          {"records", partition.records},
                          {"first_offset", partition.first.value()},
                          {"end_offset", partition.end.value()},
                          {"problems", partition.problems},
                          {"notes", partition.notes}});
  }
  return {
      {"ok", report.ok()}, {"partitions", std::move(partitions)}, {"problems", report.problems}};
}

std::string report_as_text(const log::VerifyReport& report) {
  std::string text;
  std::uint64_t records = 0;
  std::uint64_t problems = report.problems.size();
  for (const log::PartitionReport& partition : report.partitions) {
    records += partition.records;
    problems += partition.problems.size();
    text += fmt::format("{}  {}  offsets {} to {}, {} in {}\n",
                        partition.problems.empty() ? "ok " : "BAD", partition.path,
                        partition.first.value(), partition.end.value(),
                        counted(partition.records, "record"),
                        fmt::format("{} {}", with_commas(partition.batches),
                                    partition.batches == 1 ? "batch" : "batches"));
    for (const std::string& problem : partition.problems) text += fmt::format("     {}\n", problem);
    for (const std::string& note : partition.notes) text += fmt::format("     note: {}\n", note);
  }
  for (const std::string& problem : report.problems) text += fmt::format("BAD  {}\n", problem);
  text += fmt::format("{}: {}, {}, {}\n", report.ok() ? "ok" : "NOT ok",
                      counted(report.partitions.size(), "partition"), counted(records, "record"),
                      counted(problems, "problem"));
  return text;
}

Result<log::VerifyReport> verify_with_progress(log::io::FileSystem& files,
                                               const std::string& path) {
  Messages messages(/*is_quiet=*/false);
  const ReadProgress progress(messages, "checked");
  return log::verify_path(files, path);
}

Result<int> verify(const LogOptions& options) {
  log::io::SystemFileSystem files(can_read_unbuffered(options.path + "/meta.0"));
  TIDELOG_ASSIGN(const log::VerifyReport report, verify_with_progress(files, options.path));
  Output out(STDOUT_FILENO);
  out.text() =
      options.is_json ? json_text(report_as_json(report), 2) + "\n" : report_as_text(report);
  TIDELOG_TRY(out.flush());
  return report.ok() ? kExitDone : kExitFailed;
}

// A field's text as JSON: whole numbers as numbers.
Json value_of(const std::string& text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_number = error == std::errc() && end == text.data() + text.size();
  return is_number && (text == "0" || !text.starts_with('0')) ? Json(number) : Json(text);
}

// Prints what a file holds, as text or as one JSON object a line.
class Dump {
 public:
  explicit Dump(const LogOptions& options) : options_(options), out_(STDOUT_FILENO) {}

  Result<int> run() {
    struct stat status;
    if (stat(options_.path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
      return fail(ErrorCode::kStorageFailed,
                  fmt::format("'{}' is a directory; name a file in it, or check all of them with: "
                              "tidelog log verify {}",
                              options_.path, options_.path));
    }
    log::io::SystemFileSystem files(can_read_unbuffered(options_.path));
    TIDELOG_TRY(
        log::dump_file(files, options_.path, [this](const log::DumpItem& item) { show(item); }));
    TIDELOG_TRY(out_.flush());
    if (output_error_) return fail(*output_error_);
    return has_problem_ ? kExitFailed : kExitDone;
  }

 private:
  void end_line() {
    out_.text() += '\n';
    if (const auto written = out_.flush_when_large(); !written) output_error_ = written.error();
  }

  void show(const log::DumpItem& item) {
    has_problem_ |= !item.problem.empty();
    if (options_.is_json) {
      Json json{{"kind", item.kind}, {"at", item.position}};
      for (const auto& [name, value] : item.fields) json[name] = value_of(value);
      if (!item.problem.empty()) json["problem"] = item.problem;
      out_.text() += json_text(json, -1);
    } else {
      out_.text() += fmt::format("{:>10}  {:<10}", item.position, item.kind);
      for (const auto& [name, value] : item.fields) {
        out_.text() += fmt::format(" {}={}", name, value);
      }
      if (!item.problem.empty()) out_.text() += "  PROBLEM: " + item.problem;
    }
    end_line();
    if (!options_.prints_records || !item.batch || !item.problem.empty()) return;
    if (const auto printed = show_records(*item.batch, item.records); !printed) {
      show({.kind = "records",
            .position = item.position,
            .fields = {},
            .batch = std::nullopt,
            .records = {},
            .problem = printed.error().message()});
    }
  }

  Result<> show_records(const wire::BatchHeader& header, std::span<const std::byte> bytes) {
    if (header.codec() != wire::Codec::kNone) {
      TIDELOG_TRY(
          wire::decompress(header.codec(), bytes, wire::kUncompressedBatchBytesMax, decompressed_));
      bytes = decompressed_;
    }
    wire::RecordReader reader(bytes, header.record_count, header.last_offset_delta);
    wire::RecordView record;
    while (reader.has_next()) {
      TIDELOG_TRY(reader.next(record));
      fields_.offset = (header.base_offset + record.offset_delta).value();
      fields_.timestamp_ms = header.base_timestamp_ms + record.timestamp_delta_ms;
      fields_.key = record.key;
      fields_.value = record.value;
      fields_.headers.clear();
      for (const wire::HeaderView& one : record.headers) {
        fields_.headers.push_back({one.key, one.value});
      }
      if (!options_.is_json) out_.text() += "            ";
      append_json_record_body(fields_, out_.text());
      end_line();
    }
    return {};
  }

  const LogOptions& options_;
  Output out_;
  RecordFields fields_;
  std::vector<std::byte> decompressed_;
  bool has_problem_ = false;
  std::optional<Error> output_error_;
};

Result<int> dump(const LogOptions& options) { return Dump(options).run(); }

// Tells what is missing, one thing after the other, and has each accepted.
class Repairing {
 public:
  explicit Repairing(const LogOptions& options) : options_(options), out_(STDOUT_FILENO) {}

  Result<int> run() {
    log::io::SystemFileSystem files(can_read_unbuffered(options_.path + "/meta.0"));
    TIDELOG_ASSIGN(const auto repair, open(files));
    bool accepted_all = true;
    int count = 0;
    while (accepted_all) {
      TIDELOG_ASSIGN(const auto finding, find(*repair));
      if (!finding) break;
      ++count;
      TIDELOG_TRY(show(*finding));
      accepted_all = is_accepted();
      if (accepted_all) TIDELOG_TRY(repair->accept());
    }
    if (options_.is_json) {
      const Json whole{{"ok", accepted_all}, {"findings", std::move(findings_)}};
      out_.text() = json_text(whole, 2) + "\n";
    } else if (count == 0) {
      out_.text() = fmt::format("{}: nothing is missing, nothing was changed\n", options_.path);
    } else if (accepted_all) {
      out_.text() = fmt::format("{}: accepted; a broker can start on it\n", options_.path);
    }
    TIDELOG_TRY(out_.flush());
    return accepted_all ? kExitDone : kExitFailed;
  }

 private:
  // Both may recover the whole directory.
  Result<std::unique_ptr<log::Repair>> open(log::io::FileSystem& files) {
    const ReadProgress progress(messages_, "read");
    return log::Repair::open(files, options_.path);
  }
  Result<std::optional<log::RepairFinding>> find(log::Repair& repair) {
    const ReadProgress progress(messages_, "read");
    return repair.find();
  }

  Result<> show(const log::RepairFinding& finding) {
    Json partitions = Json::array();
    std::string text = finding.what + "\n";
    for (const log::PartitionLoss& loss : finding.partitions) {
      Json lost = Json::array();
      for (const log::Hole& hole : loss.lost) {
        lost.push_back(
            {{"first_offset", hole.begin.value()}, {"last_offset", hole.end.value() - 1}});
        text += fmt::format("  {}: offsets {} to {} are lost ({})\n", loss.path, hole.begin.value(),
                            hole.end.value() - 1,
                            counted(static_cast<std::uint64_t>(hole.end - hole.begin), "record"));
      }
      if (loss.lost.empty()) {
        text +=
            fmt::format("  {}: its newest records may be lost, how many is not known\n", loss.path);
      }
      text += fmt::format("  {}: goes on at offset {}\n", loss.path, loss.end.value());
      partitions.push_back(
          {{"path", loss.path}, {"lost", std::move(lost)}, {"end_offset", loss.end.value()}});
    }
    findings_.push_back({{"what", finding.what}, {"partitions", std::move(partitions)}});
    if (options_.is_json) {
      // Who is asked must see what for, before the document is there.
      if (!options_.accepts_loss) print_error_text(text);
      return {};
    }
    out_.text() = std::move(text);
    return out_.flush();
  }

  bool is_accepted() const {
    if (options_.accepts_loss) return true;
    if (can_ask()) {
      if (confirm("Accept this loss? [y/N] ")) return true;
      print_error_text("tidelog: nothing was accepted\n");
      return false;
    }
    print_error_text(
        "tidelog: nothing was accepted; add --accept-loss to do it without being asked\n");
    return false;
  }

  const LogOptions& options_;
  Messages messages_{/*is_quiet=*/false};
  Output out_;
  Json findings_ = Json::array();
};

Result<int> repair(const LogOptions& options) { return Repairing(options).run(); }

}  // namespace

void add_log_commands(CommandLine& line) {
  CLI::App* log = line.add_command(line.root(), "log", "Check and show a broker's files",
                                   "  tidelog log verify ./tidelog-data", nullptr);
  log->require_subcommand(1);

  const auto verify_options = std::make_shared<LogOptions>();
  CLI::App* verify_command = line.add_command(
      *log, "verify", "Check every checksum, and that nothing acknowledged is missing",
      "  tidelog log verify ./tidelog-data\n"
      "Works beside a running broker and changes nothing. Exit code 1 unless all is well.",
      [verify_options] { return verify(*verify_options); });
  verify_command
      ->add_option("directory", verify_options->path,
                   "A data directory, a partition's directory in it, or a file")
      ->type_name("DIR")
      ->required();
  verify_command->add_flag("--json", verify_options->is_json, "Print JSON");

  const auto repair_options = std::make_shared<LogOptions>();
  CLI::App* repair_command = line.add_command(
      *log, "repair", "Let a directory serve again that lost acknowledged records",
      "  tidelog log repair ./tidelog-data\n"
      "The broker must be stopped. First recovers the directory as a start does, then lists what "
      "is "
      "lost and\nasks. What is accepted stays a recorded hole: readers are refused there, and each "
      "log goes on behind it.\nExit code 1 when something is missing and was not accepted.",
      [repair_options] { return repair(*repair_options); });
  repair_command->add_option("directory", repair_options->path, "A data directory")
      ->type_name("DIR")
      ->required();
  repair_command->add_flag("--accept-loss", repair_options->accepts_loss,
                           "Accept what is listed without being asked");
  repair_command->add_flag("--json", repair_options->is_json, "Print JSON");

  const auto dump_options = std::make_shared<LogOptions>();
  CLI::App* dump_command = line.add_command(
      *log, "dump", "Show what a file of the data directory holds: segments, journals, all others",
      "  tidelog log dump ./tidelog-data/TOPIC-ID/0/00000000000000000000.log --records",
      [dump_options] { return dump(*dump_options); });
  dump_command->add_option("file", dump_options->path, "A file of a data directory")
      ->type_name("FILE")
      ->required();
  dump_command->add_flag("--records", dump_options->prints_records,
                         "Show the records too, one JSON object a line");
  dump_command->add_flag("--json", dump_options->is_json, "Print one JSON object a line");
}

}  // namespace tidelog::tools
