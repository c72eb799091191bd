#include "daemon/head/head.h"

#include "common/async/gate.h"
#include "common/base/duration.h"
#include "common/log/delivery.h"
#include "common/net/peer.h"
#include "common/os/file.h"
#include "common/os/token.h"
#include "common/os/user.h"
#include "daemon/head/api/api_server.h"
#include "daemon/head/head_clock.h"
#include "daemon/head/net/accept.h"
#include "daemon/head/nodes/agent_session.h"
#include "daemon/store/backup.h"
#include "daemon/store/sqlite_store.h"
#include "daemon/store/state_lock.h"

#include <algorithm>
#include <cstdlib>

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rtrain::head {
namespace asio = net::asio;
using namespace std::chrono_literals;
namespace {

/// Of agents and users together. A quarter of the descriptors is the store's, and a few are for others.
std::size_t connections_max(const proto::HeadConfig& config) {
  constexpr rlim_t kOthers = 64;
  rlimit files{};
  const auto wanted = static_cast<std::size_t>(config.connections_max);
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY) return wanted;
  const auto rest = files.rlim_cur - files.rlim_cur / 4;
  const auto possible =
      static_cast<std::size_t>(std::max<rlim_t>(rest / 2, rest > kOthers ? rest - kOthers : 0));
  if (possible >= wanted) return wanted;
  log::warn("fewer connections than connections_max can be held: the limit of open files is too low",
            {{"connections_max", std::to_string(wanted)},
             {"open_files", std::to_string(files.rlim_cur)},
             {"connections", std::to_string(possible)}});
  return possible;
}

/// The token of token_file, or the one of the head's user, which is made when there is none yet.
Result<std::string> token_of(const proto::HeadConfig& config) {
  if (!config.token_file.empty()) return os::read_token_file(config.token_file);
  const auto path = os::own_token_path([](const char* name) { return std::getenv(name); });
  auto token = os::read_or_make_token_file(path);
  if (token) log::info("agents and users need the token", {{"file", path}});
  if (!token && token.error().hint().empty())
    return fail(token.error().code(), token.error().message(), "name a file for the token: token_file");
  return token;
}

/// The API's socket is 0600 until its group is set.
Result<Done> open_to_group(const std::string& socket, gid_t group) {
  if (::chown(socket.c_str(), static_cast<uid_t>(-1), group) != 0)
    return fail(Errc::kIo, "api_socket_group: " + socket + ": " + std::generic_category().message(errno),
                "only root can give a file to a group that the head's user is not in");
  if (::chmod(socket.c_str(), 0660) != 0) return fail_errno("chmod " + socket, errno).in("api_socket_group");
  return ok();
}

/// What api_socket_group says; nothing when it says nothing.
Result<std::optional<gid_t>> group_of(const proto::HeadConfig& config, const net::Endpoint& api) {
  if (config.api_socket_group.empty()) return std::optional<gid_t>();
  if (!std::holds_alternative<net::UnixEndpoint>(api))
    return fail(Errc::kInvalidArgument,
                "api_socket_group: api_listen is " + config.api_listen + ", not a Unix socket",
                "listen on unix:/path");
  const auto group = os::group_id(config.api_socket_group);
  if (!group)
    return fail(Errc::kInvalidArgument, "api_socket_group: " + config.api_socket_group + ": no such group");
  return group;
}

}  // namespace

constexpr std::chrono::milliseconds kPassCountedMax{50};

class Head::Impl {
 public:
  Impl(asio::any_io_executor executor, proto::HeadConfig config, Admission users, store::StateLock lock,
       std::unique_ptr<store::SqliteStore> store, net::Listener agents, net::Listener api, bool api_tcp)
      : config_(std::move(config)),
        agents_{users.token, users.owner, std::nullopt},
        lock_(std::move(lock)),
        store_(std::move(store)),
        listener_(std::move(agents)),
        gate_(executor,
              [](std::exception_ptr e) {
                try {
                  std::rethrow_exception(e);
                } catch (const std::exception& ex) {
                  log::error("a bug in the head", {{"cause", ex.what()}});
                }
              }),
        recovered_(store_->take_recovered()),
        clock_(config_.state_dir, recovered_.newest_ms, config_.accept_clock),
        dispatcher_(
            config_, {*store_, *store_}, std::move(recovered_), [this](JobId id) { api_.announce(id); },
            clock_.clock(), os::random_hex(4)),
        connections_(std::make_shared<Connections>(connections_max(config_))),
        api_(executor, std::move(api), api_tcp, std::move(users), connections_, dispatcher_) {
    if (config_.backup_interval_s > 0)
      backups_.emplace(config_.state_dir, config_.backup_interval_s, config_.backups_kept);
  }

  asio::awaitable<void> async_run() {
    dispatcher_.scheduling().defer_passes([this] {
      asio::awaitable<void> pass = async_pass();
      gate_.spawn(std::move(pass));
    });
    asio::awaitable<void> api = api_.async_run();
    gate_.spawn(std::move(api));
    asio::awaitable<void> leases = async_watch_leases();
    gate_.spawn(std::move(leases));
    bool full = false;
    while (!stopping_) {
      auto socket = co_await async_next(listener_, *connections_, Connections::Kind::kAgent, stopping_);
      if (!socket) break;
      AgentSession::Peer peer{net::peer_address(*socket), net::peer_user(*socket)};
      auto stream = proto::make_stream(std::move(*socket));
      auto place = connections_->admit(Connections::Kind::kAgent, peer.address,
                                       std::chrono::steady_clock::now(), [stream] { stream->close(); });
      const bool was_full = std::exchange(full, !place);
      if (full && !was_full) {
        static log::RateLimited closed(log::Level::kWarn,
                                       "cluster: connections_max agents were connected more often");
        closed.write("cluster: connections are closed at once, connections_max agents are connected");
      }
      if (full) continue;
      asio::awaitable<void> session = async_session(std::move(stream), std::move(peer), std::move(place));
      gate_.spawn(std::move(session));
    }
    co_await gate_.close();
  }

  void stop() {
    stopping_ = true;
    listener_.close();
    api_.stop();
    connections_->close_all();
  }

  [[nodiscard]] std::uint16_t cluster_port() const { return listener_.port(); }
  [[nodiscard]] std::uint16_t api_port() const { return api_.port(); }

 private:
  asio::awaitable<void> async_session(std::shared_ptr<net::FrameStream> stream, AgentSession::Peer peer,
                                      Connections::Place place) {
    AgentSession::Callbacks callbacks{
        [this](const std::shared_ptr<AgentSession>& session, const proto::Hello& hello) {
          return dispatcher_.agent_joins(session, hello);
        },
        [this, &place](const std::shared_ptr<AgentSession>& session, const proto::Hello& hello) {
          place.known();
          dispatcher_.agent_joined(session, hello);
        },
        [this](AgentSession& session, proto::Message message) {
          dispatcher_.agent_says(session, std::move(message));
        },
        [this](AgentSession& session) { dispatcher_.agent_left(session); },
        [this](std::function<void()> stored) { dispatcher_.gate().after_all(std::move(stored)); }};
    auto session = std::make_shared<AgentSession>(stream, std::move(peer),
                                                  SessionRules{agents_, config_.lease_s, config_.heartbeat_s},
                                                  std::move(callbacks));
    co_await AgentSession::async_run(session);
  }

  /// One pass over the queue for all that changed meanwhile. Passes that take long leave four times as long
  /// to everything else.
  asio::awaitable<void> async_pass() {
    const auto next = pass_ended_ + 4 * pass_took_;
    co_await async::async_sleep(std::chrono::ceil<std::chrono::milliseconds>(
        std::max(std::chrono::steady_clock::duration{0}, next - std::chrono::steady_clock::now())));
    if (stopping_) co_return;
    const auto start = std::chrono::steady_clock::now();
    dispatcher_.scheduling().pass();
    pass_ended_ = std::chrono::steady_clock::now();
    pass_took_ = std::min<std::chrono::steady_clock::duration>(pass_ended_ - start, kPassCountedMax);
  }

  asio::awaitable<void> async_watch_leases() {
    const auto step = to_milliseconds(std::clamp(config_.heartbeat_s / 4, 0.01, 0.25));
    while (!stopping_) {
      co_await async::async_sleep(step);
      clock_.look(std::chrono::steady_clock::now());
      dispatcher_.tick();
      log::drain();
    }
  }

  proto::HeadConfig config_;
  Admission agents_;
  store::StateLock lock_;
  std::unique_ptr<store::SqliteStore> store_;
  std::optional<store::Backups> backups_;
  net::Listener listener_;
  async::Gate gate_;
  store::Recovered recovered_;  ///< for the dispatcher
  HeadClock clock_;
  Dispatcher dispatcher_;
  std::shared_ptr<Connections> connections_;
  ApiServer api_;
  std::chrono::steady_clock::time_point pass_ended_{};
  std::chrono::steady_clock::duration pass_took_{};
  bool stopping_ = false;
};

Result<std::unique_ptr<Head>> Head::open(asio::any_io_executor executor, proto::HeadConfig config,
                                         Durability durability) {
  if (const auto wrong = proto::check(config); !wrong.empty())
    return fail(Errc::kInvalidArgument, to_string(wrong[0]));
  const auto agents_at = net::parse_endpoint(config.listen), api_at = net::parse_endpoint(config.api_listen);
  if (!agents_at) return agents_at.error().in("listen");
  if (!api_at) return api_at.error().in("api_listen");
  const auto group = group_of(config, *api_at);
  if (!group) return group.error();
  const bool api_tcp = std::holds_alternative<net::TcpEndpoint>(*api_at),
             tcp = api_tcp || std::holds_alternative<net::TcpEndpoint>(*agents_at);
  Admission users{{}, ::geteuid(), *group};
  if (tcp || !config.token_file.empty()) {  // of a Unix socket's other end the kernel tells the user
    auto token = token_of(config);
    if (!token) return token.error();
    users.token = std::move(*token);
  }
  // Nobody can connect before there is something to serve.
  if (auto made = os::make_dirs(config.state_dir, 0700); !made) return made.error().in("state_dir");
  auto lock = store::StateLock::take(config.state_dir);
  if (!lock) return lock.error();
  auto opened =
      store::SqliteStore::open(executor, {config.state_dir, durability.ballast_bytes, durability.sync});
  if (!opened) return opened.error();
  auto store = std::move(*opened);
  auto agents = net::Listener::open(executor, *agents_at);
  if (!agents) return agents.error().in("listen");
  auto api = net::Listener::open(executor, *api_at);
  if (!api) return api.error().in("api_listen");
  if (*group)
    if (auto opened_up = open_to_group(std::get<net::UnixEndpoint>(*api_at).path, **group); !opened_up)
      return opened_up.error();
  return std::unique_ptr<Head>(
      new Head(std::make_unique<Impl>(executor, std::move(config), std::move(users), std::move(*lock),
                                      std::move(store), std::move(*agents), std::move(*api), api_tcp)));
}

Head::Head(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Head::~Head() = default;
asio::awaitable<void> Head::async_run() { return impl_->async_run(); }
void Head::stop() { impl_->stop(); }
std::uint16_t Head::cluster_port() const { return impl_->cluster_port(); }
std::uint16_t Head::api_port() const { return impl_->api_port(); }

}  // namespace rtrain::head
