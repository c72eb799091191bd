// A stand-in for a connected agent: keeps what the head told it.
#pragma once

#include "daemon/head/dispatcher.h"
#include "daemon/store/memory_store.h"

#include <algorithm>
#include <memory>

namespace rtrain::test {

class FakeAgent final : public head::AgentLine {
 public:
  explicit FakeAgent(std::string name) : name_(std::move(name)) {}
  [[nodiscard]] const std::string& node() const override { return name_; }
  bool send(const proto::Message& message) override {
    if (!open) return false;
    heard.push_back(message);
    return true;
  }
  boost::asio::awaitable<Result<proto::LogData>> async_read_log(proto::LogRead) override {
    co_return fail(Errc::kUnavailable, "a stand-in has no logs");
  }
  void close() override { open = false; }

  template <class T>
  [[nodiscard]] std::vector<T> all() const {
    std::vector<T> found;
    for (const auto& message : heard)
      if (const auto* one = std::get_if<T>(&message)) found.push_back(*one);
    return found;
  }

  std::vector<proto::Message> heard;
  bool open = true;

 private:
  std::string name_;
};

/// A dispatcher with a clock of its own, and agents that answer as real ones do.
class Cluster {
 public:
  explicit Cluster(proto::HeadConfig config = {})
      : Cluster(std::make_shared<store::MemoryStore>(), {}, std::move(config)) {}
  /// A head that goes on where another one stopped, so much later.
  Cluster(std::shared_ptr<store::MemoryStore> disk, store::Recovered recovered, proto::HeadConfig config = {},
          double later_s = 0)
      : store(std::move(disk)),
        wall(kBegan + static_cast<proto::UnixMs>(later_s * 1000)),
        dispatcher(std::move(config), {*store, *store}, std::move(recovered), [this](JobId) { ++changes; },
                   {[this] { return now; }, [this] { return wall; }, [this] { return clock_doubt; }}) {}

  std::shared_ptr<FakeAgent> connect(const std::string& name, double cpu = 2,
                                     std::vector<proto::RankKey> running = {}) {
    auto agent = std::make_shared<FakeAgent>(name);
    last_answer = dispatcher.agent_joins(agent, hello(name, cpu, running));
    if (last_answer) dispatcher.agent_joined(agent, hello(name, cpu, running));
    return agent;
  }
  static proto::Hello hello(const std::string& name, double cpu, std::vector<proto::RankKey> running) {
    proto::Hello hello;
    hello.role = "agent";
    hello.node = proto::NodeInfo{};
    hello.node->name = name;
    hello.node->address = "10.0.0." + std::to_string(name.empty() ? 0 : name.back());
    hello.node->resources = {{"CPU", cpu}};
    hello.running = std::move(running);
    return hello;
  }

  static proto::JobSpec spec(int workers, int max_failures = 0) {
    proto::JobSpec spec;
    spec.name = "job";
    spec.command = {"train"};
    spec.scaling_config.num_workers = workers;
    spec.run_config.storage_path = "/results";
    spec.run_config.failure_config.max_failures = max_failures;
    return spec;
  }
  JobId submit(int workers, int max_failures = 0) {
    return submit(workers, max_failures, [](proto::JobSpec&) {});
  }
  template <class Change>
  JobId submit(int workers, int max_failures, Change change) {
    auto spec = Cluster::spec(workers, max_failures);
    change(spec);
    return *dispatcher.commands().submit(spec);
  }
  const core::JobState& state(JobId id) { return dispatcher.jobs().find(id)->state; }
  core::JobPhase phase(JobId id) { return state(id).phase; }

  /// Every agent answers what was asked of it: the port is reserved.
  void reserve(FakeAgent& agent, int port = 4000) {
    const auto asked = agent.all<proto::ReservePort>();
    dispatcher.agent_says(agent, proto::PortReserved{asked.back().job, asked.back().attempt, port, ""});
  }
  void start(FakeAgent& agent, JobId id, Attempt attempt, int rank) {
    dispatcher.agent_says(agent, proto::RankStarted{{id, attempt, rank}, 100 + rank});
    dispatcher.agent_says(agent, proto::RankRunning{{id, attempt, rank}});
  }
  void end(FakeAgent& agent, JobId id, Attempt attempt, int rank, int exit_code = 0) {
    proto::RankEnded end;
    end.key = {id, attempt, rank};
    end.status.exit_code = exit_code;
    if (exit_code != 0)
      end.error = proto::RankError{"exit", "exited with code " + std::to_string(exit_code), {}};
    dispatcher.agent_says(agent, end);
  }
  void pass(double seconds) {
    now += std::chrono::duration_cast<head::SteadyTime::duration>(std::chrono::duration<double>(seconds));
    wall += static_cast<proto::UnixMs>(seconds * 1000);
  }

  std::shared_ptr<store::MemoryStore> store;
  int changes = 0;
  head::SteadyTime now{};
  static constexpr proto::UnixMs kBegan = 1'700'000'000'000;
  proto::UnixMs wall;
  std::string clock_doubt;
  Result<Done> last_answer = ok();
  head::Dispatcher dispatcher;
};

}  // namespace rtrain::test
