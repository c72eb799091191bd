// Sweeps of the head: trials as jobs, decisions as events, and a head that dies anywhere.
#include "daemon/head/sweeps/sweep_documents.h"
#include "proto/sweep/sweep_reader.h"
#include "tests/support/catch.h"
#include "tests/unit/daemon/head/fake_agent.h"

#include <map>

namespace sweeps_test {

using namespace rtrain;
using core::JobPhase;
using core::SweepPhase;
using core::TrialPhase;
using proto::Json;

namespace {

/// A sweep whose trials run on agents a and b; each has one rank.
proto::SweepSpec sweep_spec(const Json& more = Json::object()) {
  Json document = {
      {"name", "search"},
      {"job", {{"command", {"train"}}, {"working_dir", "/"}, {"run_config", {{"storage_path", "/results"}}}}},
      {"metric", "loss"},
      {"search", "random"},
      {"seed", 3},
      {"baseline", false},
      {"parameters", {{"lr", {{"float", {0.001, 1}}}}}},
      {"limits", {{"trials", 4}, {"running", 2}}}};
  document.update(more);
  auto reading = proto::read_sweep_document(document);
  REQUIRE(reading.ok());
  return std::move(reading.spec);
}

const Json kAsha = {{"schedule", {{"asha", {{"min", 1}, {"max", 4}, {"eta", 2}}}}}};

struct Scene {
  explicit Scene(std::shared_ptr<store::MemoryStore> disk = std::make_shared<store::MemoryStore>())
      : cluster(disk, disk->recover()) {}

  void connect(std::vector<proto::RankKey> running = {}) { a = cluster.connect("a", 8, std::move(running)); }
  JobId submit(const Json& more = Json::object()) {
    id = *cluster.dispatcher.sweeps().submit(sweep_spec(more), "ann");
    return id;
  }
  const core::SweepState& state() {
    const auto entry = cluster.dispatcher.sweeps().book().find(id);
    REQUIRE(entry.has_value());
    REQUIRE(*entry != nullptr);
    return (*entry)->state;
  }
  const core::TrialState& trial(std::int64_t number) { return state().trial(number); }
  JobId job(std::int64_t number) { return trial(number).job; }
  const core::JobState& job_state(std::int64_t number) { return cluster.state(job(number)); }
  /// Ports are reserved and ranks run of every job that was placed since.
  void start_all() {
    for (const auto jobs = cluster.dispatcher.jobs().active(); const auto one : jobs) {
      const auto& placed = cluster.state(one);
      if (placed.phase != JobPhase::kStarting) continue;
      cluster.dispatcher.agent_says(*a, proto::PortReserved{one, placed.attempt, 4000, ""});
      cluster.start(*a, one, placed.attempt, 0);
    }
  }
  void report(std::int64_t number, double epoch, double loss, bool checkpoint = false) {
    const auto& on = job_state(number);
    proto::RankReport report{
        .key = {on.id, on.attempt, 0}, .seq = on.last_seq + 1, .metrics = {{"loss", loss}, {"epoch", epoch}}};
    if (checkpoint)
      report.checkpoint =
          proto::CheckpointRecord{on.run_dir + "/checkpoint_" + std::to_string(on.next_checkpoint_index),
                                  on.next_checkpoint_index, report.metrics};
    cluster.dispatcher.agent_says(*a, report);
  }
  void end(std::int64_t number, int exit_code = 0, bool yielded = false, const std::string& kind = "exit") {
    const auto& on = job_state(number);
    proto::RankEnded end;
    end.key = {on.id, on.attempt, 0};
    end.status.exit_code = exit_code;
    end.yielded = yielded;
    if (exit_code != 0) end.error = proto::RankError{kind, "exited with code 1", {}};
    cluster.dispatcher.agent_says(*a, end);
  }
  void tick(double seconds = 1) {
    cluster.pass(seconds);
    cluster.dispatcher.agent_says(*a, proto::Heartbeat{});
    cluster.dispatcher.tick();
  }
  std::vector<std::string> events() {
    std::vector<std::string> names;
    for (const auto& event : cluster.store->sweep_events(id)) names.emplace_back(event_name(event.event));
    return names;
  }

  test::Cluster cluster;
  std::shared_ptr<test::FakeAgent> a;
  JobId id;
};

}  // namespace

TEST_CASE("sweeps: a trial is a job with its parameters, and no more wait than the searcher can bear") {
  Scene scene;
  scene.submit({{"limits", {{"trials", 4}}}});
  CHECK(scene.id == JobId(1));
  // Nobody is there to run them: two wait.
  REQUIRE(scene.state().trials.size() == 2);
  const auto& job = scene.job_state(0);
  CHECK(job.id == JobId(2));
  CHECK(job.user == "ann");
  CHECK(job.spec->name == "search-0");
  REQUIRE(job.sweep.has_value());
  CHECK(*job.sweep == proto::SweepTrial{scene.id, 0});
  CHECK(job.spec->train_loop_config.at("lr") == scene.state().space->to_json(scene.trial(0).point).at("lr"));
  CHECK(scene.events() == std::vector<std::string>{"sweep_submitted", "trial_suggested", "trial_submitted",
                                                   "trial_suggested", "trial_submitted"});
  scene.connect();
  CHECK(scene.state().trials.size() == 4);
  scene.start_all();
  const auto launch = scene.a->all<proto::Launch>().front();
  CHECK(launch.sweep == proto::SweepTrial{scene.id, 0});
}

TEST_CASE(
    "sweeps: a key gives the same sweep again, also when it has ended and others were looked at since") {
  Scene scene;
  auto& sweeps = scene.cluster.dispatcher.sweeps();
  const auto submit = [](head::Sweeps& to, const std::string& key) {
    return to.submit(sweep_spec(), "ann", key).value();
  };
  const auto stop = [&](JobId id) {
    REQUIRE(sweeps.stop(id, head::Sweeps::StopWhen::kNow, "ann").has_value());
    CHECK(sweeps.book().live(id) == nullptr);
  };
  const auto first = submit(sweeps, "key");
  CHECK(submit(sweeps, "key") == first);
  stop(first);
  for (std::size_t i = 0; i <= head::kEndedSweepsMax; ++i) stop(submit(sweeps, "key " + std::to_string(i)));
  CHECK(submit(sweeps, "key") == first);
  CHECK(sweeps.submit(sweep_spec({{"name", "other"}}), "ann", "key").error().code() == Errc::kConflict);
  test::Cluster next(scene.cluster.store, scene.cluster.store->recover());
  CHECK(submit(next.dispatcher.sweeps(), "key") == first);
  CHECK(next.dispatcher.sweeps().submit(sweep_spec(), "bob", "key").error().code() == Errc::kConflict);
  CHECK(next.dispatcher.sweeps().book().all_live().empty());
}

TEST_CASE("sweeps: one whose end is not durable yet is not dropped from memory") {
  const auto disk = std::make_shared<store::MemoryStore>(false);
  Scene scene(disk);
  auto& sweeps = scene.cluster.dispatcher.sweeps();
  std::vector<JobId> ids;
  for (std::size_t i = 0; i < head::kEndedSweepsMax + 2; ++i) {
    ids.push_back(*sweeps.submit(sweep_spec(), "ann", "key " + std::to_string(i)));
    REQUIRE(sweeps.stop(ids.back(), head::Sweeps::StopWhen::kNow, "ann").has_value());
  }
  CHECK(*sweeps.submit(sweep_spec(), "ann", "key 0") == ids.front());
}

TEST_CASE("sweeps: trials run to their end, the best is known, and the sweep succeeds") {
  Scene scene;
  scene.connect();
  scene.submit();
  CHECK(scene.state().trials.size() == 2);  // limits.running
  for (std::int64_t number = 0; number < 4; ++number) {
    REQUIRE(std::cmp_less(number, scene.state().trials.size()));
    scene.start_all();
    scene.report(number, 1, number == 2 ? 0.1 : 0.5);
    scene.end(number);
  }
  CHECK(scene.state().phase == SweepPhase::kSucceeded);
  CHECK(scene.state().best == 2);
  CHECK(scene.trial(2).phase == TrialPhase::kCompleted);
  const auto doc = head::sweep_doc(**scene.cluster.dispatcher.sweeps().book().find(scene.id));
  CHECK(doc.best_value == 0.1);
  CHECK(doc.trials_by_state == std::map<std::string, std::int64_t>{{"COMPLETED", 4}});
  // It is in no memory of the next head, and read from the store.
  test::Cluster next(scene.cluster.store, scene.cluster.store->recover());
  CHECK(next.dispatcher.sweeps().book().all_live().empty());
  const auto stored = next.dispatcher.sweeps().book().find(scene.id);
  REQUIRE((stored.has_value() && *stored != nullptr));
  CHECK(Json(head::sweep_doc(**stored)) == Json(doc));
  const auto rows = next.dispatcher.sweeps().book().ended(JobId(100), 10);
  REQUIRE(rows->size() == 1);
  CHECK(rows->front().second == Json(doc));
}

TEST_CASE("sweeps: a trial whose hyperparameters cannot be trained does not count, and another is drawn") {
  Scene scene;
  scene.connect();
  auto job = proto::to_json(sweep_spec().job);
  job["run_config"]["failure_config"]["max_failures"] = -1;
  scene.submit({{"job", job}, {"limits", {{"trials", 1}}}});
  scene.start_all();
  scene.end(0, 1, false, "invalid_hyperparameters");
  CHECK(scene.job_state(0).phase == JobPhase::kFailed);
  CHECK(scene.trial(0).phase == TrialPhase::kInvalid);
  CHECK(scene.trial(0).reason == "rank 0 on node a: exited with code 1");
  REQUIRE(scene.state().trials.size() == 2);
  scene.start_all();
  scene.report(1, 1, 0.5);
  scene.end(1);
  CHECK(scene.state().phase == SweepPhase::kSucceeded);
  CHECK(scene.state().best == 1);
  CHECK(head::sweep_doc(**scene.cluster.dispatcher.sweeps().book().find(scene.id)).trials_by_state ==
        std::map<std::string, std::int64_t>{{"COMPLETED", 1}, {"INVALID", 1}});
}

TEST_CASE("sweeps: a trial at a rung yields and is held, and goes on when it is among the best") {
  Scene scene;
  scene.connect();
  scene.submit(kAsha);
  scene.start_all();
  scene.report(0, 1, 0.5, true);
  CHECK(scene.trial(0).phase == TrialPhase::kPaused);
  const auto& first = scene.job_state(0);
  CHECK(first.phase == JobPhase::kStopping);
  CHECK(first.paused);
  CHECK(first.yield->cause == proto::YieldCause::kPaused);
  CHECK(scene.a->all<proto::YieldAttempt>().size() == 1);
  // Its place in the sweep is free for the next trial.
  CHECK(scene.state().trials.size() == 3);
  scene.end(0, 0, true);
  CHECK(scene.job_state(0).phase == JobPhase::kQueued);
  CHECK(scene.cluster.dispatcher.commands().release(scene.job(0), "ann").error().code() == Errc::kConflict);
  // The second is better: of two one goes on.
  scene.start_all();
  scene.report(1, 1, 0.2, true);
  CHECK(scene.trial(1).phase == TrialPhase::kRunning);
  CHECK(scene.trial(0).phase == TrialPhase::kPaused);
  CHECK_FALSE(scene.job_state(1).paused);
  scene.end(1, 0, true);
  CHECK(scene.job_state(1).phase == JobPhase::kStarting);
  CHECK(scene.job_state(1).attempt == Attempt(2));
}

TEST_CASE("sweeps: what a trial reports until it has yielded decides when it goes on") {
  // Rungs at 1, 2 and 4. The first makes epochs 2 and 3 before it yields.
  Scene scene;
  scene.connect();
  scene.submit(kAsha);
  scene.start_all();
  scene.report(0, 1, 0.5, true);
  scene.report(0, 2, 0.4, true);
  scene.report(0, 3, 0.3, true);
  scene.end(0, 0, true);
  CHECK(scene.trial(0).rung == 0);
  scene.report(1, 1, 0.9, true);  // the first is the better of two
  CHECK(scene.trial(0).rung == 1);
  CHECK(scene.trial(0).resource == 2);
  CHECK(scene.trial(0).loss == 0.4);
  CHECK(scene.trial(0).phase == TrialPhase::kPaused);
  CHECK(scene.job_state(0).paused);
  CHECK(scene.job_state(0).phase == JobPhase::kQueued);
}

TEST_CASE("sweeps: a trial that is stopped ends as cancelled with the reason, and without a checkpoint") {
  Scene scene;
  scene.connect();
  scene.submit({{"schedule", {{"asha", {{"min", 1}, {"max", 4}, {"eta", 2}, {"mode", "stop"}}}}}});
  scene.start_all();
  scene.report(0, 1, 0.2);
  CHECK(scene.trial(0).phase == TrialPhase::kRunning);
  scene.report(1, 1, 0.5);
  CHECK(scene.trial(1).phase == TrialPhase::kStopping);
  CHECK(scene.a->all<proto::YieldAttempt>().empty());
  REQUIRE(scene.a->all<proto::StopAttempt>().size() == 1);
  scene.end(1, 143);
  CHECK(scene.job_state(1).phase == JobPhase::kCancelled);
  CHECK(scene.job_state(1).verdict == "pruned: " + scene.trial(1).reason);
  CHECK(scene.trial(1).phase == TrialPhase::kPruned);
  CHECK(scene.trial(1).value(false) == 0.5);
  // At the last rung it has all: its checkpoint is asked for.
  scene.report(0, 4, 0.1);
  CHECK(scene.trial(0).phase == TrialPhase::kStopping);
  CHECK(scene.a->all<proto::YieldAttempt>().size() == 1);
  scene.end(0, 0, true);
  CHECK(scene.trial(0).phase == TrialPhase::kCompleted);
}

TEST_CASE("sweeps: failures, and what users do to a trial's job") {
  Scene scene;
  scene.connect();
  scene.submit({{"limits", {{"trials", 20}, {"running", 2}, {"failed_max", 3}}}});
  scene.start_all();
  REQUIRE(scene.cluster.dispatcher.commands().cancel(scene.job(0), "ann").has_value());
  scene.end(0, 143);
  CHECK(scene.trial(0).phase == TrialPhase::kCancelled);
  CHECK(scene.trial(0).reason == "cancelled by ann");
  for (std::int64_t number = 1; number <= 3; ++number) {
    scene.start_all();
    scene.end(number, 1);
    CHECK(scene.trial(number).phase == TrialPhase::kFailed);
  }
  // The third in a row before any success ends the sweep, and what runs.
  CHECK(scene.state().phase == SweepPhase::kStopping);
  scene.end(4, 143);
  CHECK(scene.state().phase == SweepPhase::kFailed);
  CHECK_THAT(scene.state().reason, Catch::Matchers::Contains("exited with code 1"));
}

TEST_CASE("sweeps: pause starts nothing new, resume goes on, stop ends what runs") {
  Scene scene;
  scene.connect();
  scene.submit();
  auto& sweeps = scene.cluster.dispatcher.sweeps();
  REQUIRE(sweeps.pause(scene.id, "ann").has_value());
  CHECK(sweeps.pause(scene.id, "ann").error().code() == Errc::kConflict);
  scene.start_all();
  scene.report(0, 1, 0.5);
  scene.end(0);
  CHECK(scene.state().trials.size() == 2);
  REQUIRE(sweeps.resume(scene.id, "ann").has_value());
  CHECK(scene.state().trials.size() == 3);
  scene.start_all();
  REQUIRE(sweeps.stop(scene.id, head::Sweeps::StopWhen::kNow, "ann").has_value());
  CHECK(scene.trial(1).phase == TrialPhase::kStopping);
  CHECK(scene.job_state(1).phase == JobPhase::kStopping);
  scene.end(1, 143);
  scene.end(2, 143);
  CHECK(scene.state().phase == SweepPhase::kCancelled);
  CHECK(scene.state().reason == "stopped by ann");
  CHECK(scene.trial(1).phase == TrialPhase::kPruned);
  CHECK(sweeps.stop(scene.id, head::Sweeps::StopWhen::kNow, "ann").error().code() == Errc::kConflict);
  CHECK(sweeps.pause(JobId(99), "ann").error().code() == Errc::kNotFound);
}

TEST_CASE("sweeps: paused trials are let go when the sweep has ended") {
  Scene scene;
  scene.connect();
  scene.submit(kAsha);
  scene.start_all();
  scene.report(0, 1, 0.5, true);
  scene.end(0, 0, true);
  REQUIRE(scene.cluster.phase(scene.job(0)) == JobPhase::kQueued);
  REQUIRE(scene.cluster.dispatcher.sweeps().stop(scene.id, head::Sweeps::StopWhen::kNow, "ann").has_value());
  for (const std::int64_t number : {1, 2}) scene.end(number, 143);
  CHECK(scene.state().phase == SweepPhase::kCancelled);
  CHECK(scene.trial(0).phase == TrialPhase::kPruned);
  CHECK(scene.cluster.phase(scene.job(0)) == JobPhase::kCancelled);
}

TEST_CASE("sweeps: a queue that is full keeps a trial waiting, and its parameters with it") {
  proto::HeadConfig config;
  config.queue_max = 1;
  test::Cluster cluster(std::move(config));
  const auto id = *cluster.dispatcher.sweeps().submit(sweep_spec(), "ann");
  const auto& state = cluster.dispatcher.sweeps().book().live(id)->state;
  REQUIRE(state.trials.size() == 2);
  CHECK(state.trial(1).phase == TrialPhase::kSuggested);
  const auto point = state.trial(1).point;
  REQUIRE(cluster.dispatcher.commands().cancel(state.trial(0).job, "ann").has_value());
  cluster.dispatcher.tick();
  CHECK(state.trial(1).phase == TrialPhase::kRunning);
  CHECK(state.trial(1).point == point);
}

TEST_CASE("sweeps: limits of time stop the sweep, and GPU-hours survive the head") {
  Scene scene;
  scene.connect();
  scene.submit({{"limits", {{"trials", 4}, {"running", 2}, {"hours", 1}}}});
  scene.start_all();
  scene.tick(3000);
  CHECK(scene.state().phase == SweepPhase::kRunning);
  scene.tick(700);
  CHECK(scene.state().phase == SweepPhase::kStopping);
  CHECK(scene.state().reason == "limits.hours of 1 is used up");
}

TEST_CASE("sweeps: what cannot run is refused, and the same request makes no second sweep") {
  Scene scene;
  auto& sweeps = scene.cluster.dispatcher.sweeps();
  auto spec = sweep_spec();
  spec.job.scheduling.queue = "no-such-queue";
  CHECK(sweeps.submit(spec, "ann").has_error());
  const auto first = sweeps.submit(sweep_spec(), "ann", "key");
  REQUIRE(first.has_value());
  CHECK(sweeps.submit(sweep_spec(), "ann", "key").value() == *first);
  CHECK(sweeps.submit(sweep_spec({{"seed", 4}}), "ann", "key").error().code() == Errc::kConflict);
  CHECK(sweeps.book().all_live().size() == 1);
}

TEST_CASE("sweeps: users give trials, more of them, and try some again") {
  Scene scene;
  scene.submit({{"limits", {{"trials", 2}, {"failed_max", 0}}}});
  auto& sweeps = scene.cluster.dispatcher.sweeps();
  REQUIRE(scene.state().trials.size() == 2);  // nobody runs them: both wait
  CHECK(sweeps.enqueue(scene.id, {{"lr", 0.5}}, -1, "ann").error().code() == Errc::kConflict);
  CHECK(sweeps.extend(JobId(9), 1, "ann").error().code() == Errc::kNotFound);
  REQUIRE(sweeps.extend(scene.id, 1, "ann").has_value());
  CHECK(sweeps.enqueue(scene.id, {{"rate", 0.5}}, -1, "ann").error().code() == Errc::kInvalidArgument);
  CHECK(sweeps.enqueue(scene.id, {{"lr", 0.5}}, 3, "ann").error().code() == Errc::kConflict);
  CHECK(sweeps.enqueue(scene.id, {{"lr", 0.5}}, 2, "ann").value() == 2);
  scene.connect();
  scene.start_all();
  REQUIRE(scene.state().trials.size() == 3);
  CHECK(scene.trial(2).by == "enqueued");
  scene.end(0, 1);
  const auto again = sweeps.retry(scene.id, {0}, "ann");
  REQUIRE(again.has_value());
  CHECK(*again == std::vector<std::int64_t>{3});
  CHECK(sweeps.retry(scene.id, {1}, "ann").error().code() == Errc::kConflict);
  CHECK(sweeps.retry(scene.id, {17}, "ann").error().code() == Errc::kNotFound);
  REQUIRE(scene.state().trials.size() == 4);
  CHECK(scene.trial(3).by == "retry of 0");
  CHECK(scene.trial(3).point == scene.trial(0).point);
}

TEST_CASE("sweeps: of what is asked together all is done or nothing") {
  Scene scene;
  scene.submit({{"limits", {{"trials", 1}, {"failed_max", 0}}},
                {"start_with", {{{"lr", 0.25}}, {{"lr", 0.5}}, {{"lr", 0.75}}}}});
  scene.connect();
  scene.start_all();
  auto& sweeps = scene.cluster.dispatcher.sweeps();
  REQUIRE(sweeps.extend(scene.id, 1, "ann").has_value());
  scene.start_all();
  scene.end(0, 1);
  const auto before = scene.events();
  CHECK(sweeps.retry(scene.id, {0}, "ann").error().code() == Errc::kConflict);
  CHECK(scene.events() == before);
  CHECK(scene.state().trials_max == 2);
}

TEST_CASE("sweeps: the trials of earlier ones are known, also after they are gone") {
  Scene scene;
  scene.submit({{"limits", {{"trials", 2}}}});
  scene.connect();
  scene.start_all();
  scene.report(0, 1, 0.5);
  scene.end(0);
  auto& sweeps = scene.cluster.dispatcher.sweeps();
  CHECK(sweeps.submit(sweep_spec({{"search", "tpe"}, {"from", {99}}}), "ann", "").error().code() ==
        Errc::kNotFound);
  const auto next = sweeps.submit(sweep_spec({{"search", "tpe"}, {"from", {scene.id.value()}}}), "ann", "");
  REQUIRE(next.has_value());
  const auto known_after = [&](head::Sweeps& of) { return of.book().live(*next)->state.known->size(); };
  CHECK(known_after(sweeps) == 1);
  test::Cluster again(scene.cluster.store, scene.cluster.store->recover());
  CHECK(known_after(again.dispatcher.sweeps()) == 1);
}

TEST_CASE("sweeps: a user stops one trial that runs") {
  Scene scene;
  scene.submit({{"limits", {{"trials", 2}}}});
  scene.connect();
  scene.start_all();
  auto& sweeps = scene.cluster.dispatcher.sweeps();
  REQUIRE(sweeps.stop_trial(scene.id, 0, "ann").has_value());
  CHECK(scene.trial(0).phase == core::TrialPhase::kStopping);
  CHECK(sweeps.stop_trial(scene.id, 0, "ann").error().code() == Errc::kConflict);
  CHECK(sweeps.stop_trial(scene.id, 9, "ann").error().code() == Errc::kNotFound);
  scene.end(0, 0, true);
  CHECK(scene.trial(0).phase == core::TrialPhase::kPruned);
  CHECK(scene.trial(0).reason == "stopped by ann");
}

TEST_CASE("sweeps: a start tells again only what was reported since the last rung") {
  auto disk = std::make_shared<store::MemoryStore>();
  const auto points_read = [&](const Json& more) {
    Scene scene(disk);
    scene.connect();
    scene.submit(more);
    scene.start_all();
    for (int report = 0; report < 50; ++report) scene.report(0, 0.5, 0.1);
    scene.report(0, 1, 0.1);
    for (int report = 0; report < 3; ++report) scene.report(0, 1.5, 0.1);
    CHECK(scene.trial(0).phase == TrialPhase::kRunning);
    disk->points_read = 0;
    const Scene next(disk);
    return disk->points_read;
  };
  const Json stop = {{"schedule", {{"asha", {{"min", 1}, {"max", 4}, {"eta", 2}, {"mode", "stop"}}}}}};
  CHECK(points_read(stop) == 3);
  disk = std::make_shared<store::MemoryStore>();
  CHECK(points_read(Json::object()) == 0);
}

TEST_CASE("sweeps: a sweep that stops gives up what waits in the queue") {
  Scene scene;
  scene.submit();  // no node: both jobs wait
  auto& sweeps = scene.cluster.dispatcher.sweeps();
  REQUIRE(sweeps.stop(scene.id, head::Sweeps::StopWhen::kNextRung, "ann").has_value());
  CHECK(scene.state().phase == SweepPhase::kCancelled);
  for (const std::int64_t number : {0, 1}) {
    CHECK(scene.trial(number).phase == TrialPhase::kPruned);
    CHECK(scene.job_state(number).phase == JobPhase::kCancelled);
  }
}

TEST_CASE("sweeps: a trial that is preempted while its sweep stops does not start again") {
  Scene scene;
  scene.connect();
  scene.submit(kAsha);
  scene.start_all();
  auto& sweeps = scene.cluster.dispatcher.sweeps();
  REQUIRE(sweeps.stop(scene.id, head::Sweeps::StopWhen::kNextRung, "ann").has_value());
  CHECK(scene.trial(0).phase == TrialPhase::kRunning);
  REQUIRE(scene.cluster.dispatcher.commands()
              .yield(scene.job(0), proto::YieldCause::kDrain, "node a is drained", 1)
              .has_value());
  scene.end(0, 0, true);
  CHECK(scene.trial(0).phase == TrialPhase::kPruned);
  CHECK(scene.job_state(0).phase == JobPhase::kCancelled);
}

TEST_CASE("sweeps: no job of a sweep that is paused starts, and all go on with it") {
  Scene scene;
  scene.submit();
  auto& sweeps = scene.cluster.dispatcher.sweeps();
  REQUIRE(sweeps.pause(scene.id, "ann").has_value());
  scene.connect();
  CHECK(scene.job_state(0).phase == JobPhase::kQueued);
  CHECK(scene.job_state(0).paused);
  // A head that starts meanwhile leaves it so.
  Scene next(scene.cluster.store);
  next.id = scene.id;
  next.connect();
  CHECK(next.job_state(0).phase == JobPhase::kQueued);
  REQUIRE(next.cluster.dispatcher.sweeps().resume(next.id, "ann").has_value());
  CHECK(next.job_state(0).phase == JobPhase::kStarting);
  CHECK(next.job_state(1).phase == JobPhase::kStarting);
}

TEST_CASE("sweeps: a sweep that is paused submits nothing that had found no room") {
  proto::HeadConfig config;
  config.queue_max = 1;
  test::Cluster cluster(std::move(config));
  auto& sweeps = cluster.dispatcher.sweeps();
  const auto id = *sweeps.submit(sweep_spec(), "ann");
  const auto& state = sweeps.book().live(id)->state;
  REQUIRE(state.trial(1).phase == TrialPhase::kSuggested);
  REQUIRE(sweeps.pause(id, "ann").has_value());
  REQUIRE(cluster.dispatcher.commands().cancel(state.trial(0).job, "ann").has_value());
  cluster.dispatcher.tick();
  CHECK(state.trial(1).phase == TrialPhase::kSuggested);
  REQUIRE(sweeps.resume(id, "ann").has_value());
  CHECK(state.trial(1).phase == TrialPhase::kRunning);
}

TEST_CASE("sweeps: a user's hold outlives the pause and the promotion of a trial") {
  Scene scene;
  scene.connect();
  scene.submit(kAsha);
  scene.start_all();
  auto& commands = scene.cluster.dispatcher.commands();
  REQUIRE(commands.hold(scene.job(1), "ann").has_value());
  scene.report(0, 1, 0.5, true);
  scene.end(0, 0, true);
  scene.report(1, 1, 0.2, true);  // pauses, and goes on as the better of two
  scene.end(1, 0, true);
  CHECK(scene.trial(1).phase == TrialPhase::kRunning);
  CHECK(scene.job_state(1).phase == JobPhase::kQueued);
  CHECK(scene.job_state(1).held);
  CHECK_FALSE(scene.job_state(1).paused);
  REQUIRE(commands.release(scene.job(1), "ann").has_value());
  CHECK(scene.job_state(1).phase == JobPhase::kStarting);
  // The other way round: the release of a user does not start a trial that is paused.
  REQUIRE(commands.hold(scene.job(0), "ann").has_value());
  REQUIRE(commands.release(scene.job(0), "ann").has_value());
  CHECK(scene.job_state(0).paused);
  CHECK(scene.job_state(0).phase == JobPhase::kQueued);
}

TEST_CASE("sweeps: the last report of a preempted, held trial pauses it all the same") {
  Scene scene;
  scene.connect();
  scene.submit(kAsha);
  scene.start_all();
  auto& commands = scene.cluster.dispatcher.commands();
  REQUIRE(commands.yield(scene.job(0), proto::YieldCause::kDrain, "node a is drained", 1).has_value());
  REQUIRE(commands.hold(scene.job(0), "ann").has_value());
  scene.report(0, 1, 0.5, true);
  CHECK(scene.trial(0).phase == TrialPhase::kPaused);
  scene.end(0, 0, true);
  REQUIRE(commands.release(scene.job(0), "ann").has_value());
  CHECK(scene.job_state(0).phase == JobPhase::kQueued);
  CHECK(commands.release(scene.job(0), "ann").error().code() == Errc::kConflict);
}

TEST_CASE("sweeps: the paused jobs of a sweep that is set aside are a user's to release") {
  auto disk = std::make_shared<store::MemoryStore>();
  Scene scene(disk);
  scene.connect();
  scene.submit(kAsha);
  scene.start_all();
  scene.report(0, 1, 0.5, true);
  scene.end(0, 0, true);
  const auto job = scene.job(0);
  auto found = disk->recover();
  found.sweeps.clear();
  test::Cluster next(disk, std::move(found));
  REQUIRE(next.state(job).paused);
  REQUIRE(next.dispatcher.commands().release(job, "ann").has_value());
  CHECK_FALSE(next.state(job).paused);
}

TEST_CASE("sweeps: trials and jobs that parted come together again") {
  auto disk = std::make_shared<store::MemoryStore>();
  Scene scene(disk);
  scene.connect();
  scene.submit(kAsha);
  scene.start_all();
  scene.report(0, 1, 0.5, true);
  const auto waits = scene.job(0), runs = scene.job(1);
  auto found = disk->recover();
  const auto change = [&](JobId id, auto how) {
    for (auto& job : found.jobs)
      if (job.id == id) how(job);
  };
  SECTION("the job of a paused trial runs") {
    change(waits, [](core::JobState& job) {
      job.phase = JobPhase::kRunning;
      job.paused = false;
      job.yield.reset();
    });
    test::Cluster next(disk, std::move(found));
    CHECK(next.state(waits).paused);
    CHECK(next.phase(waits) == JobPhase::kStopping);
  }
  SECTION("the job of a trial that runs is paused") {
    change(runs, [](core::JobState& job) {
      job.phase = JobPhase::kQueued;
      job.ranks.clear();
      job.paused = true;
    });
    test::Cluster next(disk, std::move(found));
    CHECK_FALSE(next.state(runs).paused);
  }
  SECTION("the job of a trial that stops runs") {
    REQUIRE(core::fold(found.sweeps.at(0).state, proto::TrialStopped{1, -1, false, "worst"}).has_value());
    test::Cluster next(disk, std::move(found));
    CHECK(next.phase(runs) == JobPhase::kStopping);
  }
}

TEST_CASE("sweeps: what its trials depend on is kept") {
  Scene scene;
  const auto before = scene.cluster.submit(1);
  auto spec = sweep_spec();
  spec.job.scheduling.depends_on = {{proto::DependencyKind::kAfterOk, before}};
  scene.id = *scene.cluster.dispatcher.sweeps().submit(spec, "ann");
  CHECK(scene.cluster.dispatcher.sweeps().needed_jobs().contains(before));
}

TEST_CASE("sweeps: a job that is refused for what all trials share pauses the sweep with the reason") {
  proto::HeadConfig config;
  test::Cluster cluster(std::move(config));
  const auto before = cluster.submit(1);
  auto spec = sweep_spec({{"limits", {{"trials", 4000}}}});
  spec.job.scheduling.depends_on = {{proto::DependencyKind::kAfterOk, before}};
  auto& sweeps = cluster.dispatcher.sweeps();
  const auto id = *sweeps.submit(spec, "ann");
  const auto& state = sweeps.book().live(id)->state;
  REQUIRE(state.trials.size() == 2);
  // Somebody prunes what it depends on, whatever the head spares.
  auto found = cluster.store->recover();
  std::erase_if(found.jobs, [&](const core::JobState& job) { return job.id == before; });
  test::Cluster next(cluster.store, std::move(found));
  auto& later = next.dispatcher.sweeps();
  REQUIRE(next.dispatcher.commands().cancel(state.trial(0).job, "ann").has_value());
  const auto& now = later.book().live(id)->state;
  CHECK(now.phase == SweepPhase::kPaused);
  CHECK_THAT(now.reason, Catch::Matchers::Contains("no such job"));
  CHECK(now.trials.size() == 3);
  CHECK(now.trial(2).phase == TrialPhase::kSuggested);
  // Tried again when a user resumes it.
  REQUIRE(later.resume(id, "ann").has_value());
  CHECK(now.phase == SweepPhase::kPaused);
  CHECK(now.trials.size() == 3);
}

TEST_CASE("sweeps: a reservation that the jobs cannot use is refused with the sweep") {
  Scene scene;
  auto spec = sweep_spec();
  spec.job.scheduling.reservation = "no-such-reservation";
  CHECK(scene.cluster.dispatcher.sweeps().submit(spec, "ann").has_error());
}

TEST_CASE("sweeps: a trial that is finished while its attempt yields writes its checkpoint and succeeds") {
  Scene scene;
  scene.connect();
  scene.submit({{"schedule", {{"asha", {{"min", 1}, {"max", 4}, {"eta", 2}, {"mode", "stop"}}}}}});
  scene.start_all();
  REQUIRE(scene.cluster.dispatcher.commands()
              .yield(scene.job(0), proto::YieldCause::kDrain, "node a is drained", 1)
              .has_value());
  scene.report(0, 4, 0.1);
  CHECK(scene.trial(0).finished);
  CHECK(scene.a->all<proto::StopAttempt>().empty());
  CHECK(scene.a->all<proto::YieldAttempt>().size() == 1);
  scene.end(0, 0, true);
  CHECK(scene.trial(0).phase == TrialPhase::kCompleted);
  CHECK(scene.job_state(0).phase == JobPhase::kSucceeded);
}

TEST_CASE("sweeps: a head that dies after any event goes on with the same trials, and submits none twice") {
  // Without a fault: the parameters of all trials.
  std::vector<core::Point> points;
  const auto run = [&](int heads_die_every) {
    auto disk = std::make_shared<store::MemoryStore>();
    auto scene = std::make_unique<Scene>(disk);
    scene->connect();
    const auto id = scene->submit(kAsha);
    int steps = 0;
    const auto maybe_die = [&] {
      if (heads_die_every == 0 || ++steps % heads_die_every != 0) return;
      auto next = std::make_unique<Scene>(disk);
      std::vector<proto::RankKey> running;
      for (const auto one : next->cluster.dispatcher.jobs().active()) {
        const auto& on = next->cluster.state(one);
        if (on.phase != JobPhase::kStarting) running.push_back({one, on.attempt, 0});
      }
      next->id = id;
      scene = std::move(next);
      scene->connect(running);
    };
    for (int round = 0; round < 60 && !core::is_terminal(scene->state().phase); ++round) {
      scene->start_all();
      maybe_die();
      scene->tick(60);  // what a dead head had not launched is placed again after a while
      scene->start_all();
      std::map<JobId, int> trained;
      for (std::int64_t number = 0; std::cmp_less(number, scene->state().trials.size()); ++number) {
        const auto& trial = scene->trial(number);
        if (trial.job.value() != 0) CHECK(++trained[trial.job] == 1);
        if (trial.phase == TrialPhase::kRunning && scene->job_state(number).phase == JobPhase::kRunning) {
          const double epoch = trial.rung < 0 ? 1 : trial.rung == 0 ? 2 : 4;
          scene->report(number, epoch, 1.0 / static_cast<double>(1 + number) / epoch, true);
          maybe_die();
        }
        if (scene->job_state(number).phase == JobPhase::kStopping) {
          scene->end(number, 0, true);
          maybe_die();
        }
      }
    }
    CHECK(scene->state().phase == SweepPhase::kSucceeded);
    std::vector<core::Point> found;
    for (const auto& trial : scene->state().trials) found.push_back(trial.point);
    return found;
  };
  points = run(0);
  CHECK(points.size() == 4);
  for (const int every : {1, 2, 3, 5}) {
    INFO("the head dies after every " << every << ". step");
    CHECK(run(every) == points);
  }
}

}  // namespace sweeps_test
