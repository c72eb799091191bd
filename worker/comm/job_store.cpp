#include "worker/comm/job_store.h"

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <thread>
#include <vector>

namespace rtrain::comm {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

class RuntimeStore final : public runtime::KeyValueStore {
 public:
  explicit RuntimeStore(c10::intrusive_ptr<c10d::Store> store) : store_(std::move(store)) {}
  void set(const std::string& key, const std::string& value) override {
    store_->set(key, std::vector<std::uint8_t>(value.begin(), value.end()));
  }
  /// One round trip and never a wait: c10d's get() would wait for a key that is removed after check() saw it.
  /// A compareSet() that expects a value nobody writes returns the present value, or that one when there is
  /// none.
  std::optional<std::string> get(const std::string& key) override {
    static const std::vector<std::uint8_t> kNeverWritten{'\0', '?'};
    const auto value = store_->compareSet(key, kNeverWritten, kNeverWritten);
    if (value == kNeverWritten) return std::nullopt;
    return std::string(value.begin(), value.end());
  }
  void remove(const std::string& key) override { store_->deleteKey(key); }

 private:
  c10::intrusive_ptr<c10d::Store> store_;
};

/// True when something accepts on host:port. c10d's own retry waits a second after a refusal; rank 0 is
/// mostly milliseconds away.
bool accepts(const addrinfo& address) {
  const int fd = ::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const timeval limit{2, 0};  // for a connect that gets no answer at all
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  const bool connected = ::connect(fd, address.ai_addr, address.ai_addrlen) == 0;
  ::close(fd);
  return connected;
}

void await_store(const std::string& host, int port, milliseconds timeout) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found); error != 0)
    throw std::runtime_error("the address of rank 0, " + host +
                             ", is not known here: " + ::gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, ::freeaddrinfo);
  const auto deadline = steady_clock::now() + timeout;
  for (auto pause = milliseconds(1); !accepts(*addresses); pause = std::min(pause * 2, milliseconds(20))) {
    if (steady_clock::now() > deadline)
      throw std::runtime_error("rank 0 did not open its store on " + host + ":" + std::to_string(port) +
                               " within " + seconds(timeout) + " (torch_config.init_timeout_s)");
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace

std::string seconds(milliseconds duration) {
  char text[32];
  std::snprintf(text, sizeof text, "%g s", static_cast<double>(duration.count()) / 1000);
  return text;
}

c10::intrusive_ptr<c10d::Store> open_store(int rank, const std::string& host, int port,
                                           milliseconds timeout) {
  const bool server = rank == 0;
  if (!server) await_store(host, port, timeout);
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(port);
  options.isServer = server;
  options.waitWorkers = false;  // Gloo's own connecting is the meeting point
  options.timeout = timeout;
  return c10::make_intrusive<c10d::TCPStore>(host, options);
}

std::unique_ptr<runtime::KeyValueStore> runtime_store(c10::intrusive_ptr<c10d::Store> store) {
  return std::make_unique<RuntimeStore>(c10::make_intrusive<c10d::PrefixStore>("rtrain", std::move(store)));
}

std::unique_ptr<runtime::KeyValueStore> connect_store(const std::string& host, int port,
                                                      milliseconds timeout) {
  await_store(host, port, timeout);
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(port);
  options.waitWorkers = false;
  options.timeout = std::max(timeout, milliseconds(1000));
  return runtime_store(c10::make_intrusive<c10d::TCPStore>(host, options));
}

}  // namespace rtrain::comm
