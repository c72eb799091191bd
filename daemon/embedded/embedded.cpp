#include "daemon/embedded/embedded.h"

#include "common/async/run.h"
#include "common/log/log.h"
#include "common/os/file.h"
#include "daemon/agent/agent.h"
#include "daemon/head/head.h"

#include <boost/asio.hpp>

#include <filesystem>
#include <future>
#include <thread>

#include <unistd.h>
#include <csignal>
#include <cstdlib>

namespace rtrain::embedded {
namespace asio = boost::asio;
namespace fs = std::filesystem;
namespace {

/// Head and agent are one process: no network comes between them, and the ranks end when it does. What a
/// lease would notice is that the process was stopped (Ctrl-Z), and that is no reason to end a job.
constexpr double kLeaseS = 30 * 86'400;

/// Unix socket paths hold 107 bytes: the sockets get a short folder of their own, whatever state_dir is.
class SocketFolder {
 public:
  static Result<SocketFolder> make() {
    const char* runtime = std::getenv("XDG_RUNTIME_DIR");
    std::error_code ec;
    const std::string base =
        runtime != nullptr && fs::is_directory(runtime, ec) && std::string(runtime).size() < 60 ? runtime
                                                                                                : "/tmp";
    std::string path = base + "/rtrain-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) return fail_errno("make a folder for sockets in " + base, errno);
    return SocketFolder(path);
  }
  SocketFolder(SocketFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  SocketFolder& operator=(SocketFolder&&) = delete;
  ~SocketFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  explicit SocketFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

/// An exception that leaves a daemon is a bug; the CLI's user must hear of it.
void log_escape(std::exception_ptr escaped) {
  if (!escaped) return;
  try {
    std::rethrow_exception(escaped);
  } catch (const std::exception& e) {
    log::error("the embedded cluster ended by an error", {{"cause", e.what()}});
  }
}

}  // namespace

struct EmbeddedCluster::Impl {
  explicit Impl(SocketFolder folder) : sockets(std::move(folder)), api("unix:" + sockets.path() + "/api") {}

  SocketFolder sockets;
  std::string api;
  asio::io_context io{1};
  std::unique_ptr<head::Head> head;
  std::unique_ptr<agent::Agent> agent;
  std::thread thread;

  /// The agent first: its ranks end while the head still hears of it. Whatever ends it, the head ends too,
  /// and with it the thread.
  void start() {
    asio::co_spawn(io, head->async_run(), &log_escape);
    asio::co_spawn(io, agent->async_run(), [this](std::exception_ptr escaped) {
      log_escape(escaped);
      head->stop();
    });
    thread = std::thread([this] { async::run_through(io, &log_escape); });
  }
};

Result<std::unique_ptr<EmbeddedCluster>> EmbeddedCluster::open(const Options& options) {
  log::init("rtrain", log::level_from_string(options.log_level));
  std::signal(SIGXFSZ, SIG_IGN);  // the head takes a file that may not grow for a full disk
  if (auto made = os::make_dirs(options.state_dir, 0700); !made) return made.error();
  auto sockets = SocketFolder::make();
  if (!sockets) return sockets.error();
  auto impl = std::make_unique<Impl>(std::move(*sockets));

  proto::HeadConfig head;
  head.listen = "unix:" + impl->sockets.path() + "/cluster";
  head.api_listen = impl->api;
  head.state_dir = options.state_dir + "/head";
  head.backup_interval_s = 0;
  head.lease_s = kLeaseS;
  head.accept_clock = true;  // its jobs end with this process, and nobody watches its log
  // The job ends with this process: there is nobody who could miss it after a power cut.
  auto opened_head = head::Head::open(impl->io.get_executor(), head, {0, false});
  if (!opened_head) return opened_head.error();
  impl->head = std::move(*opened_head);

  proto::AgentConfig agent;
  agent.head = head.listen;
  agent.node_name = os::host_name();
  agent.state_dir = options.state_dir + "/agent";
  agent.socket = impl->sockets.path() + "/agent";
  agent.worker_program = options.worker_program;
  agent.keeper_program = options.keeper_program;
  agent.prestart_zygote = options.with_zygote;
  agent.worker_lease_s = kLeaseS;
  auto opened_agent = agent::Agent::open(impl->io.get_executor(), agent, agent::Survival::kEndWithTheAgent);
  if (!opened_agent) return opened_agent.error();
  impl->agent = std::move(*opened_agent);

  // Jobs wait in the queue until the agent has registered, which takes a millisecond: nothing to wait for
  // here.
  impl->start();
  return std::unique_ptr<EmbeddedCluster>(new EmbeddedCluster(std::move(impl)));
}

EmbeddedCluster::EmbeddedCluster(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

EmbeddedCluster::~EmbeddedCluster() {
  asio::post(impl_->io, [impl = impl_.get()] { impl->agent->stop(); });
  impl_->thread.join();
}

const std::string& EmbeddedCluster::api_endpoint() const { return impl_->api; }

}  // namespace rtrain::embedded
