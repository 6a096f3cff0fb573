#include "broker/admin_http.h"

#include <fmt/format.h>
#include <httplib.h>
#include <pthread.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "base/check.h"
#include "wire/transport/asio_transport.h"

namespace tidelog::broker {
namespace {

constexpr std::size_t kThreads = 2;
constexpr std::size_t kRequestBytesMax = 4096;
constexpr std::chrono::seconds kReadTimeout{1};
constexpr std::chrono::seconds kStopDeadline{1};
constexpr char kPlainText[] = "text/plain; charset=utf-8";
constexpr char kPrometheusText[] = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace

// Held by the serving thread too, so that a client that never ends its request cannot outlive what
// it touches.
class AdminHttp::Server {
 public:
  explicit Server(AdminPages pages) : pages_(std::move(pages)) {}

  Result<> listen(const HostPort& address);
  void serve();
  // Returns when serve(), on its thread, accepts connections: only from then on does stop() reach
  // it.
  void wait_until_serving();
  void stop();
  std::uint16_t port() const { return port_; }

 private:
  void add_pages();
  // Runs `page` unless the broker is stopping; then answers 503.
  void with_pages(httplib::Response& answer, const std::function<void(const AdminPages&)>& page);

  httplib::Server http_;
  std::uint16_t port_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<AdminPages> pages_;  // guarded by mutex_; empty once stopping
  int pages_in_use_ = 0;             // guarded by mutex_
  bool ended_ = false;               // guarded by mutex_; the serving thread is done
};

void AdminHttp::Server::with_pages(httplib::Response& answer,
                                   const std::function<void(const AdminPages&)>& page) {
  {
    const std::lock_guard lock(mutex_);
    if (!pages_) {
      answer.status = 503;
      answer.set_content("the broker is stopping\n", kPlainText);
      return;
    }
    ++pages_in_use_;
  }
  page(*pages_);
  {
    const std::lock_guard lock(mutex_);
    --pages_in_use_;
  }
  changed_.notify_all();
}

void AdminHttp::Server::add_pages() {
  http_.Get("/health", [](const httplib::Request&, httplib::Response& answer) {
    answer.set_content("alive\n", kPlainText);
  });
  http_.Get("/ready", [this](const httplib::Request&, httplib::Response& answer) {
    with_pages(answer, [&answer](const AdminPages& pages) {
      const Readiness now = pages.readiness();
      answer.status = now.ready ? 200 : 503;
      std::string text = now.ready ? "ready\n" : fmt::format("not ready: {}\n", now.reason);
      if (!now.storage.empty()) text += fmt::format("storage: {}\n", now.storage);
      answer.set_content(text, kPlainText);
    });
  });
  http_.Get("/version", [this](const httplib::Request&, httplib::Response& answer) {
    with_pages(answer, [&answer](const AdminPages& pages) {
      answer.set_content(pages.version_json() + "\n", "application/json");
    });
  });
  http_.Get("/metrics", [this](const httplib::Request&, httplib::Response& answer) {
    with_pages(answer, [&answer](const AdminPages& pages) {
      answer.set_content(pages.metrics(), kPrometheusText);
    });
  });
  http_.set_error_handler([](const httplib::Request&, httplib::Response& answer) {
    if (!answer.body.empty()) return;
    answer.set_content(answer.status == 404
                           ? "no such page; there are /health, /ready, /version and /metrics\n"
                           : fmt::format("the request was refused ({})\n", answer.status),
                       kPlainText);
  });
}

Result<> AdminHttp::Server::listen(const HostPort& address) {
  add_pages();
  http_.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  http_.set_payload_max_length(kRequestBytesMax);
  http_.set_read_timeout(kReadTimeout);
  http_.set_write_timeout(kReadTimeout);
  http_.set_keep_alive_timeout(1);
  // The library's default would let two brokers share a port without a word.
  http_.set_socket_options([](socket_t socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  });
  const auto found = wire::look_up_host(address.host);
  if (!found) {
    return fail(found.error().with_context(
        fmt::format("cannot serve admin pages on {}", address.to_string())));
  }
  errno = 0;
  int port = address.port;
  if (port == 0) {
    port = http_.bind_to_any_port(found->front());
  } else if (!http_.bind_to_port(found->front(), port)) {
    port = -1;
  }
  if (port < 0) {
    return fail(ErrorCode::kConnectionFailed,
                fmt::format("cannot serve admin pages on {}: {}", address.to_string(),
                            errno != 0 ? std::generic_category().message(errno)
                                       : "the address cannot be used"));
  }
  port_ = static_cast<std::uint16_t>(port);
  return {};
}

void AdminHttp::Server::serve() {
  http_.listen_after_bind();
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
}

void AdminHttp::Server::wait_until_serving() {
  const auto ended = [this] {
    const std::lock_guard lock(mutex_);
    return ended_;
  };
  // A few instructions of the other thread; the library has nothing to wait on.
  while (!http_.is_running() && !ended()) std::this_thread::yield();
}

void AdminHttp::Server::stop() {
  std::unique_lock lock(mutex_);
  if (!pages_) return;
  changed_.wait(lock, [this] { return pages_in_use_ == 0; });
  pages_.reset();
  lock.unlock();
  http_.stop();
  lock.lock();
  changed_.wait_for(lock, kStopDeadline, [this] { return ended_; });
}

AdminHttp::AdminHttp(std::shared_ptr<Server> server) : server_(std::move(server)) {}

Result<std::unique_ptr<AdminHttp>> AdminHttp::start(const HostPort& listen, AdminPages pages) {
  TIDELOG_CHECK(pages.readiness && pages.metrics && pages.version_json,
                "every admin page has its source");
  auto server = std::make_shared<Server>(std::move(pages));
  TIDELOG_TRY(server->listen(listen));
  // Detached: stop() must not wait for a client that sends one byte now and then.
  std::thread([server] {
    pthread_setname_np(pthread_self(), "admin-http");
    server->serve();
  }).detach();
  server->wait_until_serving();
  return std::unique_ptr<AdminHttp>(new AdminHttp(std::move(server)));
}

AdminHttp::~AdminHttp() { stop(); }

std::uint16_t AdminHttp::port() const { return server_->port(); }

void AdminHttp::stop() { server_->stop(); }

}  // namespace tidelog::broker
