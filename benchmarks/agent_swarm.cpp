// Plays a thousand agents and their users against a real head, in one process over real sockets: what the
// head does in a second, and what an idle agent costs it. Each simulated agent speaks the cluster protocol as
// a real one does; a rank ends as soon as it is launched.
//
//   agent_swarm jobs    CLUSTER API AGENTS JOBS      submits no-op jobs over 16 pipelined connections: {"jobs_per_s", ...}
//   agent_swarm reports CLUSTER API AGENTS REPORTS   a job on each agent, each sends so many reports: {"reports_per_s", ...}
//   agent_swarm idle    CLUSTER API AGENTS SECONDS   connects and sends heartbeats: {"agents"} on a line once all are there, then waits
#include "common/async/gate.h"
#include "common/os/file.h"
#include "common/os/token.h"
#include "proto/frame/wire.h"
#include "proto/jobspec/jobspec.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <unordered_map>

#include <sys/resource.h>

namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using namespace rtrain;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr int kApiConnections = 16;
constexpr int kPipelined = 8;                   // requests on their way on each
constexpr std::int64_t kUnfinishedMax = 4000;   // jobs: who submits waits when the head is so far behind
constexpr std::int64_t kUnconfirmedMax = 1000;  // reports of one agent

[[noreturn]] void stop(const std::string& what) {
  std::fprintf(stderr, "agent_swarm: %s\n", what.c_str());
  std::exit(1);
}

/// The one that the head has made for its user.
const std::string& token() {
  static const std::string kToken = [] {
    auto read = os::read_token_file(os::own_token_path([](const char* name) { return std::getenv(name); }));
    if (!read) stop(read.error().message());
    return *read;
  }();
  return kToken;
}

struct Options {
  std::string mode, cluster, api;
  int agents = 0;
  std::int64_t amount = 0;  ///< jobs, reports of each agent, or seconds
};

/// What all share. One thread.
struct Swarm {
  Options options;
  asio::io_context io{1};
  async::Gate gate{io.get_executor(), [](std::exception_ptr error) { std::rethrow_exception(error); }};
  /// cancelled when something was submitted, ended or confirmed
  asio::steady_timer progress{io, Clock::time_point::max()};
  int connected = 0;
  /// ended, confirmed: stored by the head
  std::int64_t submitted = 0, accepted = 0, ended = 0, confirmed = 0;
  Clock::time_point first{}, last{};
  std::string spec;
};

class SimAgent : public std::enable_shared_from_this<SimAgent> {
 public:
  SimAgent(Swarm& swarm, int number)
      : swarm_(swarm), name_("sim" + std::to_string(number)), beat_(swarm.io) {}

  static asio::awaitable<void> async_run(std::shared_ptr<SimAgent> self) {
    auto socket = co_await net::async_connect(*net::parse_endpoint(self->swarm_.options.cluster), 30s);
    if (!socket) stop("connect: " + socket.error().message());
    self->stream_ = proto::make_stream(std::move(*socket));
    proto::Hello hello;
    hello.role = "agent";
    hello.token = token();
    hello.node = proto::NodeInfo{};
    hello.node->name = self->name_;
    hello.node->address = "127.0.0.1";
    hello.node->resources = {{"CPU", 1}};
    proto::send(*self->stream_, hello);
    auto answer = co_await proto::async_read_message(self->stream_, 60s);
    if (!answer) stop("handshake: " + answer.error().message());
    const auto* welcome = std::get_if<proto::Welcome>(&*answer);
    if (welcome == nullptr) stop("the head refused an agent");
    proto::accept_peer(*self->stream_);
    ++self->swarm_.connected;
    self->swarm_.progress.cancel();
    asio::awaitable<void> beats =
        async_beat(self, std::chrono::milliseconds(static_cast<std::int64_t>(welcome->heartbeat_s * 1000)));
    self->swarm_.gate.spawn(std::move(beats));
    while (true) {
      auto message = co_await proto::async_read_message(self->stream_);
      if (!message) stop(self->name_ + ": " + message.error().message());
      self->hear(*message);
    }
  }

 private:
  static asio::awaitable<void> async_beat(std::shared_ptr<SimAgent> self, std::chrono::milliseconds period) {
    // not all at once
    for (auto wait = period * (std::hash<std::string>{}(self->name_) % 100) / 100;; wait = period) {
      self->beat_.expires_after(wait);
      co_await self->beat_.async_wait(asio::as_tuple(asio::use_awaitable));
      proto::send(*self->stream_, proto::Heartbeat{});
    }
  }

  void hear(const proto::Message& message) {
    if (const auto* taken = std::get_if<proto::Taken>(&message)) return confirmed(taken->count);
    if (const auto* port = std::get_if<proto::ReservePort>(&message))
      return say(proto::PortReserved{port->job, port->attempt, 40000, ""});
    const auto* launch = std::get_if<proto::Launch>(&message);
    if (launch == nullptr) return;
    for (const auto& rank : launch->ranks) {
      const proto::RankKey key{launch->job, launch->attempt, rank.rank};
      say(proto::RankStarted{key, 1});
      say(proto::RankRunning{key});
      if (swarm_.options.mode == "reports") {
        reporting_ = key;
        reported_ = 0;  // one agent may get several jobs, one after the other
        send_reports();
      } else {
        end(key);
      }
    }
  }

  void say(const proto::Message& message) {
    ++said_;
    proto::send(*stream_, message);
  }

  void end(const proto::RankKey& key) {
    proto::RankEnded ended;
    ended.key = key;
    ended.status.exit_code = 0;
    say(ended);
    ends_.push_back(said_);
  }

  void send_reports() {
    if (swarm_.first == Clock::time_point{}) swarm_.first = Clock::now();
    for (; reported_ < swarm_.options.amount && said_ - confirmed_ < kUnconfirmedMax;
         report_numbers_.push_back(said_)) {
      proto::RankReport report;
      report.key = *reporting_;
      report.seq = ++reported_;
      report.metrics = {{"loss", 0.5 + 1.0 / static_cast<double>(reported_)},
                        {"accuracy", 0.75},
                        {"epoch", reported_ / 1000},
                        {"step", reported_}};
      say(report);
    }
    if (reported_ < swarm_.options.amount) return;
    end(*reporting_);
    reporting_.reset();
  }

  void confirmed(std::int64_t count) {
    confirmed_ = count;
    for (; !ends_.empty() && ends_.front() <= count; ends_.pop_front()) ++swarm_.ended;
    for (; !report_numbers_.empty() && report_numbers_.front() <= count; report_numbers_.pop_front())
      ++swarm_.confirmed;
    swarm_.last = Clock::now();
    swarm_.progress.cancel();
    if (reporting_) send_reports();
  }

  Swarm& swarm_;
  std::string name_;
  asio::steady_timer beat_;
  std::shared_ptr<net::FrameStream> stream_;
  std::int64_t said_ = 0, confirmed_ = 0, reported_ = 0;  ///< said_: messages that Taken counts
  std::deque<std::int64_t> ends_, report_numbers_;        ///< numbers of such messages that are not confirmed
  std::optional<proto::RankKey> reporting_;
};

asio::awaitable<void> async_progress(Swarm& swarm) {
  co_await swarm.progress.async_wait(asio::as_tuple(asio::use_awaitable));
}

/// Submits jobs until `jobs` are submitted by all users together, some requests ahead of their answers.
asio::awaitable<void> async_user(Swarm& swarm, std::int64_t jobs) {
  const auto endpoint = *net::parse_endpoint(swarm.options.api);
  auto socket = co_await net::async_connect(endpoint, 30s);
  if (!socket) stop("connect to the API: " + socket.error().message());
  const std::string request =
      "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + token() +
      "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(swarm.spec.size()) +
      "\r\n\r\n" + swarm.spec;
  boost::beast::flat_buffer buffer;
  while (swarm.submitted < jobs) {
    if (swarm.submitted - swarm.ended >= kUnfinishedMax) {
      co_await async_progress(swarm);
      continue;
    }
    std::string ahead;
    int sent = 0;
    for (; sent < kPipelined && swarm.submitted < jobs; ++sent, ++swarm.submitted) ahead += request;
    if (swarm.first == Clock::time_point{}) swarm.first = Clock::now();
    co_await asio::async_write(*socket, asio::buffer(ahead), asio::use_awaitable);
    for (; sent > 0; --sent) {
      http::response<http::string_body> response;
      co_await http::async_read(*socket, buffer, response, asio::use_awaitable);
      if (response.result_int() != 201)
        stop("a submit was answered with " + std::to_string(response.result_int()) + ": " + response.body());
      ++swarm.accepted;
    }
  }
}

asio::awaitable<void> async_measure(Swarm& swarm) {
  const auto begun = Clock::now();
  for (int number = 0; number < swarm.options.agents; ++number) {
    auto agent = std::make_shared<SimAgent>(swarm, number);
    asio::awaitable<void> run = SimAgent::async_run(agent);
    swarm.gate.spawn(std::move(run));
    while (number - swarm.connected >= 100) co_await async_progress(swarm);  // so many handshakes at once
  }
  while (swarm.connected < swarm.options.agents) co_await async_progress(swarm);
  std::printf("{\"agents\": %d, \"connect_s\": %.2f}\n", swarm.connected,
              std::chrono::duration<double>(Clock::now() - begun).count());
  std::fflush(stdout);
  if (swarm.options.mode == "idle") {
    co_await async::async_sleep(std::chrono::seconds(swarm.options.amount));
    std::exit(0);
  }
  const bool reports = swarm.options.mode == "reports";
  const std::int64_t jobs = reports ? swarm.options.agents : swarm.options.amount;
  for (int user = 0; user < kApiConnections; ++user) {
    asio::awaitable<void> submits = async_user(swarm, jobs);
    swarm.gate.spawn(std::move(submits));
  }
  auto said = Clock::now();
  while (swarm.ended < jobs) {
    co_await async_progress(swarm);
    if (Clock::now() - said < 2s) continue;
    said = Clock::now();
    std::fprintf(stderr, "submitted %ld, ended %ld, reports stored %ld\n", swarm.accepted, swarm.ended,
                 swarm.confirmed);
  }
  const double seconds = std::chrono::duration<double>(swarm.last - swarm.first).count();
  if (reports)
    std::printf("{\"reports_per_s\": %.0f, \"reports\": %ld, \"seconds\": %.2f}\n",
                static_cast<double>(swarm.confirmed) / seconds, swarm.confirmed, seconds);
  else
    std::printf("{\"jobs_per_s\": %.0f, \"jobs\": %ld, \"seconds\": %.2f}\n",
                static_cast<double>(swarm.ended) / seconds, swarm.ended, seconds);
  std::fflush(stdout);
  std::exit(0);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) stop("usage: agent_swarm jobs|reports|idle CLUSTER API AGENTS AMOUNT");
  Swarm swarm;
  swarm.options = {argv[1], argv[2], argv[3], std::atoi(argv[4]), std::atoll(argv[5])};
  if (swarm.options.agents < 1 || swarm.options.amount < 1) stop("AGENTS and AMOUNT are at least 1");
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  swarm.spec =
      R"({"name": "noop", "command": ["true"], "working_dir": "/", "run_config": {"storage_path": "/tmp/rtrain-swarm"},)"
      R"( "scaling_config": {"num_workers": 1, "resources_per_worker": {"CPU": 1}}})";
  asio::awaitable<void> measure = async_measure(swarm);
  swarm.gate.spawn(std::move(measure));
  swarm.io.run();
}
