#include "tests/sim/sim_head.h"

#include "tests/sim/compare.h"

#include <map>

namespace rtrain::sim {

/// One incarnation: everything in here goes with a crash.
struct SimHead::Process : std::enable_shared_from_this<SimHead::Process> {
  Process(World& w, Disk& d, Referee& r, const proto::HeadConfig& head_config,
          std::function<void()> sync_failed)
      : world(w),
        disk(d),
        referee(r),
        config(head_config),
        journal(std::make_shared<SimJournal>(w, d, std::move(sync_failed))),
        passes(w.random().fork()),
        dispatcher(head_config, {*journal, *journal}, d.recover(), [](JobId) {},
                   {[&w] { return w.steady_now(); }, [&w] { return w.wall_ms(); }}) {}

  void watch_leases();
  /// As head.cpp: one pass for all that changed in a turn, later after one that took long.
  void defer_passes();
  /// A start right now would find what is in memory.
  void check_recovery();

  World& world;
  Disk& disk;
  Referee& referee;
  proto::HeadConfig config;
  bool dead = false;
  std::shared_ptr<SimJournal> journal;
  /// When a pass comes. Of its own: events that are appended before or after one is asked for, in the same
  /// moment, shift nothing.
  Random passes;
  head::Dispatcher dispatcher;
  /// by number, not by address: in the same order in every replay
  std::map<std::int64_t, std::shared_ptr<Session>> sessions;
  std::int64_t last_session = 0;
};

/// The rules of daemon/head/nodes/agent_session.cpp.
class SimHead::Session final : public head::AgentLine, public std::enable_shared_from_this<SimHead::Session> {
 public:
  Session(Process& process, std::int64_t number, std::shared_ptr<Connection> connection)
      : process_(process), number_(number), connection_(std::move(connection)) {}

  void listen() {
    connection_->attach(Side::kHead, {[self = weak_from_this()](proto::Message message) {
                                        if (const auto session = self.lock())
                                          session->received(std::move(message));
                                      },
                                      [self = weak_from_this()] {
                                        if (const auto session = self.lock()) session->ended();
                                      }});
  }
  [[nodiscard]] const std::string& node() const override { return node_; }
  bool send(const proto::Message& message) override {
    if (closed_) return false;
    process_.referee.on_sent_to_agent(message);
    connection_->send(Side::kHead, std::make_shared<proto::Message>(message));
    return true;
  }
  boost::asio::awaitable<Result<proto::LogData>> async_read_log(proto::LogRead) override {
    co_return fail(Errc::kUnavailable, "no logs are simulated");
  }
  void close() override {
    if (closed_) return;
    closed_ = true;
    connection_->close(Side::kHead, process_.world.random().chance(0.5));
    process_.world.after(0, [self = weak_from_this()] {  // the reader sees its own end
      if (const auto session = self.lock()) session->ended();
    });
  }
  /// The process is gone: the kernel closes what it had open.
  void vanish(bool silently) {
    if (silently) connection_->break_now(true);
    connection_->close(Side::kHead, process_.world.random().chance(0.5));
  }

 private:
  void received(proto::Message message) {
    if (closed_) return;
    if (!open_) return greet(message);
    const bool beat = std::holds_alternative<proto::Heartbeat>(message);
    const bool counts = !beat && !std::holds_alternative<proto::RankProgress>(message);
    if (counts) unconfirmed_.push_back(message);
    process_.dispatcher.agent_says(*this, std::move(message));
    if (beat) send(proto::Heartbeat{});
    if (!counts) return;
    ++taken_;
    if (!confirming_) confirm();
  }
  void greet(const proto::Message& message) {
    const auto* hello = std::get_if<proto::Hello>(&message);
    if (hello == nullptr || !hello->node) return close();
    node_ = hello->node->name;
    if (auto joined = process_.dispatcher.agent_joins(shared_from_this(), *hello); !joined) {
      connection_->send(Side::kHead,
                        std::make_shared<proto::Message>(proto::Refused{
                            std::string(to_string(joined.error().code())), joined.error().message()}));
      connection_->close(Side::kHead, false);
      closed_ = true;
      process_.sessions.erase(number_);
      return;
    }
    open_ = true;
    send(proto::Welcome{process_.config.lease_s, process_.config.heartbeat_s});
    process_.dispatcher.agent_joined(shared_from_this(), *hello);
  }
  void confirm() {
    confirming_ = true;
    process_.dispatcher.gate().after_all([self = weak_from_this(), count = taken_] {
      const auto session = self.lock();
      if (!session) return;
      session->confirming_ = false;
      if (!session->open_) return;
      for (; session->confirmed_ < count; ++session->confirmed_) {
        session->process_.referee.confirmed(session->unconfirmed_.front());
        session->unconfirmed_.pop_front();
      }
      session->send(proto::Taken{count});
      if (session->taken_ > count) session->confirm();
    });
  }
  void ended() {
    const auto self = shared_from_this();
    if (process_.sessions.erase(number_) == 0) return;
    closed_ = true;
    connection_->close(Side::kHead, false);
    const bool was_open = std::exchange(open_, false);
    if (was_open) process_.dispatcher.agent_left(*this);
  }

  Process& process_;
  std::int64_t number_;
  std::shared_ptr<Connection> connection_;
  std::string node_;
  std::deque<proto::Message> unconfirmed_;  ///< for the referee: what Taken will speak of
  std::int64_t taken_ = 0, confirmed_ = 0;
  bool open_ = false, closed_ = false, confirming_ = false;
};

void SimHead::Process::watch_leases() {
  world.after(seconds(std::clamp(config.heartbeat_s / 4, 0.01, 0.25)), [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self || self->dead) return;
    self->dispatcher.tick();
    self->watch_leases();
  });
}

void SimHead::Process::defer_passes() {
  dispatcher.scheduling().defer_passes([this] {
    world.after(seconds(passes.chance(0.1) ? passes.between(0.0, 0.3) : 0), [weak = weak_from_this()] {
      if (const auto self = weak.lock(); self && !self->dead) self->dispatcher.scheduling().pass();
    });
  });
}

void SimHead::Process::check_recovery() {
  if (journal->durable() != journal->appended()) return;
  for (const auto& [id, record] : dispatcher.jobs().all()) {
    if (core::is_terminal(record.state.phase)) continue;
    const auto differs = difference(record.state, disk.state(id));
    referee.check(differs.empty(), "a replay gives the same state",
                  [&, id = id] { return "job " + to_string(id) + ": " + differs; });
  }
  for (const auto& [id, entry] : dispatcher.sweeps().book().all_live()) {
    const auto differs = difference(entry.state, disk.sweep(id).state);
    referee.check(differs.empty(), "a replay gives the same state",
                  [&, id = id] { return "sweep " + to_string(id) + ": " + differs; });
  }
}

void SimHead::start() {
  ++starts_;
  world_.note("head starts", starts_);
  process_ = std::make_shared<Process>(world_, disk_, referee_, config_, [this] {
    world_.note("a sync failed");
    crash();
    world_.after(seconds(world_.random().between(0.1, 2.0)), [this] {
      if (!up()) start();
    });
  });
  referee_.rules().head_started(process_->dispatcher);
  process_->defer_passes();
  process_->watch_leases();
}

void SimHead::crash(bool silently) {
  if (!process_) return;
  world_.note("head dies");
  const auto process = std::move(process_);
  process->check_recovery();
  process->dead = true;
  process->journal->crash();
  for (const auto& [number, session] : process->sessions) session->vanish(silently);
  process->sessions.clear();
  // Whoever called may stand in the middle of it: it goes when the event is over.
  world_.after(0, [process] {});
}

bool SimHead::accept(std::shared_ptr<Connection> connection) {
  if (!process_) return false;
  const auto number = ++process_->last_session;
  const auto session = std::make_shared<Session>(*process_, number, std::move(connection));
  session->listen();
  process_->sessions[number] = session;
  return true;
}

void SimHead::disk_changed() {
  if (process_) process_->journal->disk_changed();
}

head::Dispatcher* SimHead::dispatcher() { return process_ ? &process_->dispatcher : nullptr; }
const head::Dispatcher* SimHead::dispatcher() const { return process_ ? &process_->dispatcher : nullptr; }

}  // namespace rtrain::sim
