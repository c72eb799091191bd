// Ranks of one process group as forked processes of a test.
#pragma once

#include "tests/support/catch.h"
#include "tests/support/training.h"
#include "worker/sdk/group.h"

#include <rtrain/process_group.h>

#include <ATen/Parallel.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

namespace rtrain::test {

/// A port that is ours: bound, not listening, for as long as the object lives.
class HeldPort {
 public:
  HeldPort() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int yes = 1;
    ::setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(::bind(fd_, reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
  }
  ~HeldPort() { ::close(fd_); }
  [[nodiscard]] int port() const { return port_; }

 private:
  int fd_, port_ = 0;
};

/// Forks `world` ranks that run `body` in one process group. @return their exit codes (128 + signal); 3: it
/// threw (the text is in `failures`).
inline std::vector<int> run_ranks(int world, const std::function<void(int rank)>& body,
                                  std::vector<std::string>* failures = nullptr) {
  at::set_num_threads(1);  // a pool of threads would not survive the fork
  const HeldPort port;
  const Folder folder;
  std::vector<pid_t> ranks;
  std::cout.flush();
  for (int rank = 0; rank < world; ++rank) {
    const auto pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      ::alarm(90);
      int code = 0;
      try {
        comm::JobGroupOptions options;
        options.backend = "gloo";
        options.rank = rank;
        options.world_size = world;
        options.master_addr = options.node_address = "127.0.0.1";
        options.master_port = port.port();
        options.timeout = std::chrono::seconds(60);
        sdk::join_group(options);
        body(rank);
        sdk::leave_group();
      } catch (const std::exception& e) {
        std::ofstream(folder / std::to_string(rank)) << e.what();
        code = 3;
      }
      ::_exit(code);
    }
    ranks.push_back(pid);
  }
  std::vector<int> codes;
  for (int rank = 0; rank < world; ++rank) {
    int status = 0;
    REQUIRE(::waitpid(ranks[static_cast<std::size_t>(rank)], &status, 0) > 0);
    codes.push_back(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    std::ifstream in(folder / std::to_string(rank));
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    if (failures != nullptr) {
      failures->push_back(text);
    } else if (!text.empty()) {
      UNSCOPED_INFO("rank " << rank << ": " << text);
    }
  }
  return codes;
}

inline const std::vector<int> kBothEnded{0, 0};

}  // namespace rtrain::test
