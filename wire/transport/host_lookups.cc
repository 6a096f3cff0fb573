#include "wire/transport/host_lookups.h"

#include <fmt/format.h>
#include <netdb.h>
#include <pthread.h>
#include <sys/socket.h>

#include <array>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/blocking_pool.h"

namespace tidelog::wire {
namespace {

// Names looked up at once, each on a thread.
constexpr std::size_t kLookupsMax = 16;

}  // namespace

Result<std::vector<std::string>> look_up_host(const std::string& host) {
  check_may_block("getaddrinfo");
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), nullptr, &wanted, &found);
  if (error != 0) {
    return fail(ErrorCode::kConnectionFailed,
                fmt::format("'{}' has no address: {}", host, ::gai_strerror(error)));
  }
  std::vector<std::string> addresses;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    std::array<char, NI_MAXHOST> text;
    if (::getnameinfo(at->ai_addr, at->ai_addrlen, text.data(), text.size(), nullptr, 0,
                      NI_NUMERICHOST) == 0) {
      addresses.emplace_back(text.data());
    }
  }
  ::freeaddrinfo(found);
  if (addresses.empty()) {
    return fail(ErrorCode::kConnectionFailed, fmt::format("'{}' has no address", host));
  }
  return addresses;
}

struct HostLookups::Way {
  std::mutex mutex;
  AsioExecutor::Loop* loop;  // guarded by mutex; null once nobody waits any more
};

HostLookups::HostLookups(AsioExecutor::Loop& loop, HostLookup look_up)
    : loop_(loop), look_up_(std::move(look_up)), way_(std::make_shared<Way>()) {
  way_->loop = &loop;
}

HostLookups::~HostLookups() {
  const std::lock_guard lock(way_->mutex);
  way_->loop = nullptr;
}

void HostLookups::addresses(const std::string& host, Callback done) {
  if (const auto asked = waiting_.find(host); asked != waiting_.end()) {
    asked->second.push_back(std::move(done));
    return;
  }
  const auto refuse = [&](std::string reason) {
    loop_.post([done = std::move(done), reason = std::move(reason)]() mutable {
      done(fail(ErrorCode::kConnectionFailed, std::move(reason)));
    });
  };
  if (waiting_.size() >= kLookupsMax) {
    return refuse(fmt::format("'{}' is not looked up: {} other names are", host, kLookupsMax));
  }
  try {
    std::thread([host, look_up = look_up_, way = way_, self = weak_from_this()] {
      pthread_setname_np(pthread_self(), "lookup");
      Result<std::vector<std::string>> found = look_up(host);
      const std::lock_guard lock(way->mutex);
      if (way->loop == nullptr) return;
      way->loop->post([self, host, found = std::move(found)] {
        if (const auto lookups = self.lock()) lookups->finished(host, found);
      });
    }).detach();
  } catch (const std::system_error& error) {
    return refuse(fmt::format("'{}' cannot be looked up: {}", host, error.what()));
  }
  waiting_[host].push_back(std::move(done));
}

void HostLookups::finished(const std::string& host, const Result<std::vector<std::string>>& found) {
  auto asked = waiting_.extract(host);
  for (Callback& done : asked.mapped()) done(found);
}

}  // namespace tidelog::wire
