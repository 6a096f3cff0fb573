#include "tests/sim/sim_disk.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "tests/sim/sim_file.h"

namespace tidelog::sim {
namespace {

std::vector<std::string> split(const std::string& path) {
  std::vector<std::string> names;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    if (end > at && path.substr(at, end - at) != ".") names.push_back(path.substr(at, end - at));
    at = end + 1;
  }
  return names;
}

}  // namespace

class SimDirectoryLock final : public log::io::DirectoryLock {
 public:
  SimDirectoryLock(SimDisk& disk, InodeId inode) : disk_(disk), inode_(inode) {}
  ~SimDirectoryLock() override { disk_.locked_.erase(inode_); }

 private:
  SimDisk& disk_;
  InodeId inode_;
};

std::string_view to_string(DiskOperation operation) {
  switch (operation) {
    case DiskOperation::kOpen:
      return "open";
    case DiskOperation::kRead:
      return "read";
    case DiskOperation::kWrite:
      return "write";
    case DiskOperation::kSync:
      return "sync";
    case DiskOperation::kTruncate:
      return "truncate";
    case DiskOperation::kAllocate:
      return "allocate";
    case DiskOperation::kRename:
      return "rename";
    case DiskOperation::kRemove:
      return "remove";
    case DiskOperation::kSyncDirectory:
      return "sync directory";
    case DiskOperation::kMakeDirectory:
      return "make directory";
    case DiskOperation::kList:
      return "list";
  }
  return "unknown";
}

SimDisk::SimDisk(std::uint64_t seed) : random_(seed) {
  inodes_[kRootInode] = std::make_shared<SimInode>(kRootInode, true);
}

SimDisk::~SimDisk() = default;

// --- Power and faults.

void SimDisk::stop_at(std::uint64_t n) {
  TIDELOG_CHECK(n == 0 || n > points_, "the point to stop at has passed");
  stop_at_ = n;
}

SimDisk::Power SimDisk::point(DiskOperation operation, const std::string& what) {
  if (powered_off_) return Power::kOff;
  if (++points_ != stop_at_) return Power::kOn;
  powered_off_ = true;
  stopped_by_ = fmt::format("point {}: {} {}", points_, to_string(operation), what);
  return Power::kOffNow;
}

void SimDisk::fail_nth(DiskOperation operation, std::uint64_t n, DiskFault fault) {
  TIDELOG_CHECK(n > 0, "operations are counted from 1");
  faults_.push_back({operation, n, fault});
}

std::optional<DiskFault> SimDisk::take_fault(DiskOperation operation) {
  std::optional<DiskFault> taken;
  for (Fault& fault : faults_) {
    if (fault.operation == operation && --fault.countdown == 0) taken = fault.fault;
  }
  std::erase_if(faults_, [](const Fault& fault) { return fault.countdown == 0; });
  return taken;
}

Result<> SimDisk::off(DiskOperation operation, const std::string& path) const {
  return fail(ErrorCode::kStorageFailed,
              fmt::format("{} '{}': the simulated power is off", to_string(operation), path));
}

Result<> SimDisk::enter(DiskOperation operation, const std::string& path) {
  if (powered_off_) return off(operation, path);
  ++operations_[operation];
  const std::optional<DiskFault> fault = take_fault(operation);
  return fault ? injected(*fault, operation, path) : Result<>();
}

Result<> SimDisk::injected(DiskFault fault, DiskOperation operation,
                           const std::string& path) const {
  if (fault == DiskFault::kNoSpace) {
    return fail(ErrorCode::kStorageFull,
                fmt::format("{} '{}': no space left (injected)", to_string(operation), path));
  }
  if (fault == DiskFault::kNoDescriptor) {
    return fail(ErrorCode::kOverloaded,
                fmt::format("{} '{}': too many open files (injected)", to_string(operation), path));
  }
  return fail(ErrorCode::kStorageFailed,
              fmt::format("{} '{}': input/output error (injected)", to_string(operation), path));
}

std::uint64_t SimDisk::operations(DiskOperation operation) const {
  const auto found = operations_.find(operation);
  return found == operations_.end() ? 0 : found->second;
}

std::uint64_t SimDisk::bytes_read(std::string_view suffix) const {
  std::uint64_t bytes = 0;
  for (const auto& [path, read] : bytes_read_) bytes += path.ends_with(suffix) ? read : 0;
  return bytes;
}

template <typename Change>
Result<> SimDisk::change(DiskOperation operation, const std::string& path, Change apply) {
  const Power power = point(operation, path);
  if (power == Power::kOff) return off(operation, path);
  apply();
  if (power == Power::kOffNow) return off(operation, path);
  return {};
}

// --- Names.

SimDisk::InodePtr SimDisk::find(const std::string& path) const {
  InodeId inode = kRootInode;
  for (const std::string& name : split(path)) {
    const std::optional<InodeId> next = names_.find({inode, name});
    if (!next) return nullptr;
    inode = *next;
  }
  return inodes_.at(inode);
}

Result<SimName> SimDisk::locate(const std::string& path) const {
  std::vector<std::string> names = split(path);
  TIDELOG_CHECK(!names.empty(), "the root is no file");
  SimName located{kRootInode, names.back()};
  names.pop_back();
  for (const std::string& name : names) {
    const std::optional<InodeId> next = names_.find({located.directory, name});
    if (!next || !inodes_.at(*next)->is_directory()) {
      return fail(ErrorCode::kNotFound, fmt::format("'{}': no such directory", path));
    }
    located.directory = *next;
  }
  return located;
}

SimDisk::InodePtr SimDisk::make_inode(bool directory) {
  auto inode = std::make_shared<SimInode>(next_inode_++, directory);
  inodes_[inode->id()] = inode;
  return inode;
}

void SimDisk::forget_unreachable() {
  const std::set<InodeId> reachable = names_.reachable();
  std::erase_if(inodes_, [&](const auto& entry) {
    return !reachable.contains(entry.first) && entry.second.use_count() == 1;
  });
}

Result<std::unique_ptr<log::io::File>> SimDisk::open(const std::string& path,
                                                     const log::io::OpenOptions& options) {
  TIDELOG_TRY(enter(DiskOperation::kOpen, path));
  TIDELOG_ASSIGN(const SimName name, locate(path));
  InodePtr inode = find(path);
  if (options.mode == log::io::OpenMode::kCreate) {
    if (inode != nullptr) {
      return fail(ErrorCode::kAlreadyExists, fmt::format("create '{}': the file exists", path));
    }
    TIDELOG_TRY(change(DiskOperation::kOpen, path, [&] {
      inode = make_inode(false);
      names_.create(name, inode->id());
    }));
  } else if (inode == nullptr) {
    return fail(ErrorCode::kNotFound, fmt::format("open '{}': no such file", path));
  } else if (inode->is_directory()) {
    return fail(ErrorCode::kStorageFailed, fmt::format("open '{}': is a directory", path));
  }
  return std::make_unique<SimFile>(*this, std::move(inode), path, options);
}

Result<bool> SimDisk::exists(const std::string& path) {
  if (powered_off_) return fail(off(DiskOperation::kOpen, path).error());
  return find(path) != nullptr;
}

Result<> SimDisk::make_directories(const std::string& path) {
  TIDELOG_TRY(enter(DiskOperation::kMakeDirectory, path));
  InodeId directory = kRootInode;
  for (const std::string& name : split(path)) {
    std::optional<InodeId> next = names_.find({directory, name});
    if (!next) {
      TIDELOG_TRY(change(DiskOperation::kMakeDirectory, path, [&] {
        next = make_inode(true)->id();
        names_.create({directory, name}, *next);
      }));
    } else if (!inodes_.at(*next)->is_directory()) {
      return fail(ErrorCode::kStorageFailed,
                  fmt::format("make directory '{}': '{}' is a file", path, name));
    }
    directory = *next;
  }
  return {};
}

Result<std::vector<log::io::DirectoryEntry>> SimDisk::list(const std::string& path) {
  TIDELOG_TRY(enter(DiskOperation::kList, path));
  const InodePtr inode = find(path);
  if (inode == nullptr) {
    return fail(ErrorCode::kNotFound, fmt::format("list '{}': no such directory", path));
  }
  std::vector<log::io::DirectoryEntry> entries;
  for (const auto& [name, id] : names_.list(inode->id())) {
    entries.push_back({name, inodes_.at(id)->is_directory()});
  }
  return entries;
}

Result<> SimDisk::rename(const std::string& from, const std::string& to) {
  TIDELOG_TRY(enter(DiskOperation::kRename, from));
  TIDELOG_ASSIGN(const SimName from_name, locate(from));
  TIDELOG_ASSIGN(const SimName to_name, locate(to));
  if (!names_.find(from_name)) {
    return fail(ErrorCode::kNotFound, fmt::format("rename '{}' to '{}': no such file", from, to));
  }
  if (from_name == to_name) return {};
  return change(DiskOperation::kRename, from + " to " + to, [&] {
    names_.rename(from_name, to_name);
    forget_unreachable();
  });
}

Result<> SimDisk::remove_file(const std::string& path) {
  TIDELOG_TRY(enter(DiskOperation::kRemove, path));
  const InodePtr inode = find(path);
  if (inode == nullptr) {
    return fail(ErrorCode::kNotFound, fmt::format("remove '{}': no such file", path));
  }
  if (inode->is_directory()) {
    return fail(ErrorCode::kStorageFailed, fmt::format("remove '{}': is a directory", path));
  }
  return change(DiskOperation::kRemove, path, [&] { names_.remove(*locate(path)); });
}

Result<> SimDisk::remove_directory(const std::string& path) {
  TIDELOG_TRY(enter(DiskOperation::kRemove, path));
  const InodePtr inode = find(path);
  if (inode == nullptr) {
    return fail(ErrorCode::kNotFound, fmt::format("remove '{}': no such directory", path));
  }
  if (!inode->is_directory() || !names_.list(inode->id()).empty()) {
    return fail(ErrorCode::kStorageFailed,
                fmt::format("remove '{}': not an empty directory", path));
  }
  return change(DiskOperation::kRemove, path, [&] { names_.remove(*locate(path)); });
}

Result<> SimDisk::sync_directory(const std::string& path) {
  TIDELOG_TRY(enter(DiskOperation::kSyncDirectory, path));
  const InodePtr inode = find(path);
  if (inode == nullptr || !inode->is_directory()) {
    return fail(ErrorCode::kNotFound, fmt::format("sync '{}': no such directory", path));
  }
  if (point(DiskOperation::kSyncDirectory, path) != Power::kOn) {
    return off(DiskOperation::kSyncDirectory, path);
  }
  names_.sync(inode->id());
  forget_unreachable();
  return {};
}

Result<> SimDisk::sync_all(const std::string& path) {
  if (const Result<> entered = enter(DiskOperation::kSyncDirectory, path); !entered) {
    if (powered_off_ || entered.error().code() == ErrorCode::kOverloaded) return entered;
    for (const auto& [id, inode] : inodes_) {
      if (!inode->is_directory()) inode->fail_sync(inode->newest_change());
    }
    return entered;
  }
  if (point(DiskOperation::kSyncDirectory, path) != Power::kOn) {
    return off(DiskOperation::kSyncDirectory, path);
  }
  for (const auto& [id, inode] : inodes_) {
    if (inode->is_directory()) names_.sync(id);
    if (!inode->is_directory()) inode->sync(inode->newest_change());
  }
  forget_unreachable();
  return {};
}

Result<std::unique_ptr<log::io::DirectoryLock>> SimDisk::lock_directory(const std::string& path) {
  if (powered_off_) return fail(off(DiskOperation::kOpen, path).error());
  const InodePtr inode = find(path);
  if (inode == nullptr) {
    return fail(ErrorCode::kNotFound, fmt::format("lock '{}': no such directory", path));
  }
  if (!locked_.insert(inode->id()).second) {
    return fail(ErrorCode::kDirectoryInUse,
                fmt::format("directory '{}' is in use by process 1", path));
  }
  let_go_below(inode->id());
  return std::make_unique<SimDirectoryLock>(*this, inode->id());
}

void SimDisk::let_go_below(InodeId directory) {
  for (const auto& [name, id] : names_.list(directory)) {
    SimInode& inode = *inodes_.at(id);
    if (inode.is_directory()) {
      let_go_below(id);
    } else {
      inode.let_go_of_given_up(random_);
    }
  }
}

// --- Space.

std::uint64_t SimDisk::used_pages() const {
  std::uint64_t pages = 0;
  for (const auto& [id, inode] : inodes_) pages += inode->pages();
  return pages;
}

bool SimDisk::has_space(const SimInode& inode, std::uint64_t position, std::uint64_t length) const {
  const std::uint64_t missing = inode.missing_pages(position, length);
  return missing == 0 || (used_pages() + missing) * PagedBytes::kPageBytes <= space_bytes_;
}

Result<SimDisk::Space> SimDisk::space(const std::string& path) {
  if (powered_off_) return fail(off(DiskOperation::kOpen, path).error());
  const std::uint64_t used = used_pages() * PagedBytes::kPageBytes;
  return Space{.free_bytes = used < space_bytes_ ? space_bytes_ - used : 0,
               .total_bytes = space_bytes_};
}

// --- Files.

void SimFile::check_writable() const { TIDELOG_CHECK(writable(), "the file is open for reading"); }

void SimFile::check_alignment(FilePosition position, std::uintptr_t address,
                              std::uint64_t length) const {
  if (!options_.direct) return;
  TIDELOG_CHECK(position.value() % log::io::kBlockBytes == 0,
                "direct I/O at an unaligned position");
  TIDELOG_CHECK(address % log::io::kBlockBytes == 0, "direct I/O with unaligned memory");
  TIDELOG_CHECK(length % log::io::kBlockBytes == 0, "direct I/O of an unaligned length");
}

Result<std::size_t> SimFile::read_at(FilePosition position, std::span<std::byte> into) {
  check_alignment(position, reinterpret_cast<std::uintptr_t>(into.data()), into.size());
  TIDELOG_TRY(disk_.enter(DiskOperation::kRead, path_));
  if (!inode_->readable(position.value(), into.size())) {
    return fail(ErrorCode::kStorageFailed, fmt::format("read '{}': a spoiled block", path_));
  }
  const std::size_t read = inode_->read(position.value(), into);
  disk_.bytes_read_[path_] += read;
  return read;
}

Result<> SimFile::write_at(FilePosition position, std::span<const std::byte> bytes) {
  check_writable();
  check_alignment(position, reinterpret_cast<std::uintptr_t>(bytes.data()), bytes.size());
  if (disk_.powered_off_) return disk_.off(DiskOperation::kWrite, path_);
  const std::optional<DiskFault> fault = disk_.take_fault(DiskOperation::kWrite);
  if (fault == DiskFault::kShortWrite && bytes.size() > kSectorBytes) {
    const std::size_t first = (1 + disk_.random_.below(bytes.size() / kSectorBytes)) * kSectorBytes;
    TIDELOG_TRY(write_part(position, bytes.first(std::min(first, bytes.size()))));
    if (first >= bytes.size()) return {};
    return write_part(FilePosition(position.value() + first), bytes.subspan(first));
  }
  if (!fault || fault == DiskFault::kShortWrite) return write_part(position, bytes);
  if (fault == DiskFault::kIoError && options_.direct && !bytes.empty()) {
    const std::uint64_t write =
        inode_->begin_write(position.value(), std::vector(bytes.begin(), bytes.end()));
    inode_->fail_write(write, disk_.random_);
  }
  return disk_.injected(*fault, DiskOperation::kWrite, path_);
}

Result<> SimFile::write_part(FilePosition position, std::span<const std::byte> bytes) {
  if (!disk_.has_space(*inode_, position.value(), bytes.size())) {
    return fail(ErrorCode::kStorageFull, fmt::format("write '{}': no space left", path_));
  }
  return disk_.change(DiskOperation::kWrite,
                      fmt::format("{} at {}, {} bytes", path_, position.value(), bytes.size()),
                      [&] { inode_->write(position.value(), bytes); });
}

Result<> SimFile::sync_data() {
  const Result<> entered = disk_.enter(DiskOperation::kSync, path_);
  if (!entered) {
    if (!disk_.powered_off()) inode_->fail_sync(inode_->newest_change());
    return entered;
  }
  if (disk_.point(DiskOperation::kSync, path_) != SimDisk::Power::kOn) {
    return disk_.off(DiskOperation::kSync, path_);
  }
  inode_->sync(inode_->newest_change());
  return {};
}

Result<std::uint64_t> SimFile::size() {
  if (disk_.powered_off()) return fail(disk_.off(DiskOperation::kRead, path_).error());
  return inode_->size();
}

Result<> SimFile::truncate(std::uint64_t size) {
  check_writable();
  TIDELOG_TRY(disk_.enter(DiskOperation::kTruncate, path_));
  return disk_.change(DiskOperation::kTruncate, fmt::format("{} to {}", path_, size),
                      [&] { inode_->truncate(size); });
}

Result<> SimFile::allocate(FilePosition position, std::uint64_t length) {
  check_writable();
  TIDELOG_TRY(disk_.enter(DiskOperation::kAllocate, path_));
  if (!disk_.has_space(*inode_, position.value(), length)) {
    return fail(ErrorCode::kStorageFull, fmt::format("allocate '{}': no space left", path_));
  }
  return disk_.change(DiskOperation::kAllocate,
                      fmt::format("{} at {}, {} bytes", path_, position.value(), length),
                      [&] { inode_->allocate(position.value(), length); });
}

Result<FilePosition> SimFile::next_data(FilePosition position) {
  if (disk_.powered_off()) return fail(disk_.off(DiskOperation::kRead, path_).error());
  return FilePosition(inode_->next_data(position.value()));
}

}  // namespace tidelog::sim
