// Populations on the head: a member goes on from the checkpoint of another one, in a job of its own.
#include "proto/sweep/sweep_reader.h"
#include "tests/support/catch.h"
#include "tests/unit/daemon/head/fake_agent.h"

#include <map>

namespace sweeps_population_test {

using namespace rtrain;
using core::JobPhase;
using core::SweepPhase;
using core::TrialPhase;
using proto::Json;

namespace {

/// Four members that keep one checkpoint each; the smaller its number, the better a member is.
proto::SweepSpec population(const Json& run_config = {{"checkpoint_config", {{"num_to_keep", 1}}}},
                            const Json& more = Json::object()) {
  Json document = {
      {"name", "population"},
      {"job",
       {{"command", {"train"}},
        {"working_dir", "/"},
        {"run_config", {{"storage_path", "/results"}, {"failure_config", {{"max_failures", 3}}}}}}},
      {"metric", "loss"},
      {"search", "random"},
      {"schedule", {{"pbt", {{"interval", 2}, {"max", 8}}}}},
      {"seed", 3},
      {"baseline", false},
      {"parameters", {{"lr", {{"float", {0.001, 1}}}}}},
      {"limits", {{"trials", 4}, {"running", 4}}}};
  document["job"]["run_config"].update(run_config);
  document.update(more);
  auto reading = proto::read_sweep_document(document);
  REQUIRE(reading.ok());
  return std::move(reading.spec);
}

struct Scene {
  explicit Scene(std::shared_ptr<store::MemoryStore> disk = std::make_shared<store::MemoryStore>())
      : cluster(disk, disk->recover()) {}

  void connect(std::vector<proto::RankKey> running = {}, double cpu = 8) {
    a = cluster.connect("a", cpu, std::move(running));
  }
  void begin(const proto::SweepSpec& spec, double cpu = 8) {
    connect({}, cpu);
    id = *cluster.dispatcher.sweeps().submit(spec, "ann");
    for (int round = 0; round < 2; ++round) start_all();
  }
  const core::SweepState& state() {
    const auto entry = cluster.dispatcher.sweeps().book().find(id);
    REQUIRE(entry.has_value());
    REQUIRE(*entry != nullptr);
    return (*entry)->state;
  }
  const core::TrialState& trial(std::int64_t number) { return state().trial(number); }
  const core::JobState& job(std::int64_t number) { return cluster.state(trial(number).job); }
  /// Ports are reserved and ranks run of every job that was placed since.
  void start_all() {
    for (const auto jobs = cluster.dispatcher.jobs().active(); const auto one : jobs) {
      const auto& placed = cluster.state(one);
      if (placed.phase != JobPhase::kStarting) continue;
      cluster.dispatcher.agent_says(*a, proto::PortReserved{one, placed.attempt, 4000, ""});
      cluster.start(*a, one, placed.attempt, 0);
    }
  }
  static std::string checkpoint(const core::JobState& on, std::int64_t index) {
    return on.run_dir + "/checkpoint_" + std::to_string(index);
  }
  /// With a checkpoint, in whose place the one before goes.
  void report(JobId of, double epoch, double loss, bool pinnable = true) {
    const auto& on = cluster.state(of);
    const auto index = on.next_checkpoint_index;
    proto::RankReport report{
        .key = {on.id, on.attempt, 0}, .seq = on.last_seq + 1, .metrics = {{"loss", loss}, {"epoch", epoch}}};
    report.checkpoint = proto::CheckpointRecord{checkpoint(on, index), index, report.metrics, {}, pinnable};
    if (index > 0 && on.spec->run_config.checkpoint_config.num_to_keep)
      report.deleted_checkpoints = {checkpoint(on, index - 1)};
    cluster.dispatcher.agent_says(*a, report);
  }
  void report_trial(std::int64_t number, double epoch, bool pinnable = true) {
    report(trial(number).job, epoch, 1.0 + static_cast<double>(number), pinnable);
  }
  void end(JobId of, int exit_code = 0) {
    const auto& on = cluster.state(of);
    cluster.end(*a, of, on.attempt, 0, exit_code);
  }
  void tick(double seconds = 1) {
    cluster.pass(seconds);
    cluster.dispatcher.agent_says(*a, proto::Heartbeat{});
    cluster.dispatcher.tick();
  }
  std::vector<std::string> told_pins(JobId of) {
    std::vector<std::string> paths;
    for (const auto& pins : a->all<proto::CheckpointPins>())
      if (pins.job == of) paths = pins.paths;
    return paths;
  }
  proto::Launch launch_of(JobId of) {
    std::optional<proto::Launch> found;
    for (const auto& launch : a->all<proto::Launch>())
      if (launch.job == of) found = launch;
    REQUIRE(found.has_value());
    return *found;
  }

  test::Cluster cluster;
  std::shared_ptr<test::FakeAgent> a;
  JobId id;
};

/// The running ranks of a head that died.
std::vector<proto::RankKey> running_in(Scene& scene) {
  std::vector<proto::RankKey> running;
  for (const auto one : scene.cluster.dispatcher.jobs().active()) {
    const auto& on = scene.cluster.state(one);
    if (on.phase != JobPhase::kStarting) running.push_back({one, on.attempt, 0});
  }
  return running;
}

}  // namespace

TEST_CASE("population: a member goes on from a donor's checkpoint, which is pinned until it has its own") {
  Scene scene;
  scene.begin(population());
  const auto donor = scene.trial(0).job, old = scene.trial(3).job;
  for (const std::int64_t number : {2, 1}) scene.report_trial(number, 2);  // the better one goes on
  for (const double epoch : {1, 2, 3}) scene.report_trial(0, epoch);
  const auto before = scene.trial(3).point;
  scene.report_trial(3, 2);

  const auto member = scene.trial(3);
  const auto path = Scene::checkpoint(scene.cluster.state(donor), 2);
  CHECK(member.phase == TrialPhase::kRunning);
  CHECK(member.replaced == old);
  CHECK(member.job != old);
  CHECK(member.from == core::CloneSource{0, donor, path});
  CHECK(member.resource == 3);
  CHECK(member.point != before);
  CHECK(scene.told_pins(donor) == std::vector<std::string>{path});
  const auto& job = scene.cluster.state(member.job);
  CHECK(job.spec->resume_from_checkpoint == path);
  CHECK(job.spec->train_loop_config.at("lr") == scene.state().space->to_json(member.point).at("lr"));
  CHECK(*job.sweep == proto::SweepTrial{scene.id, 3});

  // The job before is stopped at once, and its end is not the trial's.
  CHECK(scene.a->all<proto::StopAttempt>().back().job == old);
  CHECK(scene.a->all<proto::YieldAttempt>().empty());
  scene.report(old, 4, 9);
  scene.end(old);
  CHECK(scene.cluster.phase(old) == JobPhase::kCancelled);
  CHECK(scene.cluster.state(old).verdict ==
        "replaced: trial 3 goes on from " + path + ", the checkpoint of trial 0");
  CHECK(scene.trial(3).phase == TrialPhase::kRunning);
  CHECK(scene.cluster.dispatcher.sweeps().needed_jobs().contains(donor));

  // The donor has newer ones, and keeps the pinned one; a donor that starts again hears of it.
  scene.report_trial(0, 4);
  CHECK(scene.cluster.state(donor).checkpoints.size() == 1);
  CHECK(scene.cluster.dispatcher.sweeps().pins_of(donor) == std::vector<std::string>{path});
  scene.end(donor, 1);
  scene.tick(60);
  scene.start_all();
  CHECK(scene.launch_of(donor).pins == std::vector<std::string>{path});

  scene.start_all();
  scene.report(member.job, 4, 0.5);
  CHECK(scene.told_pins(donor).empty());
  CHECK(scene.cluster.dispatcher.sweeps().pins_of(donor).empty());
  CHECK(scene.trial(3).rung == 2);
  CHECK(scene.state().best == 3);
}

TEST_CASE("population: a clone of a sweep that is paused waits, also under another head") {
  auto disk = std::make_shared<store::MemoryStore>();
  Scene first(disk);
  first.begin(population());
  const auto donor = first.trial(0).job, old = first.trial(3).job;
  for (const std::int64_t number : {2, 1, 0}) first.report_trial(number, 2);
  REQUIRE(first.cluster.dispatcher.sweeps().pause(first.id, "ann").has_value());
  first.report_trial(3, 2);
  CHECK(first.trial(3).phase == TrialPhase::kSuggested);
  CHECK(first.trial(3).job == JobId(0));
  CHECK(first.cluster.phase(old) == JobPhase::kStopping);

  Scene next(disk);
  next.id = first.id;
  next.connect(running_in(next));
  const auto path = Scene::checkpoint(next.cluster.state(donor), 0);
  CHECK(next.told_pins(donor) == std::vector<std::string>{path});
  CHECK(next.a->all<proto::StopAttempt>().back().job == old);
  CHECK_FALSE(next.cluster.state(old).cancel_requested);
  CHECK(next.trial(3).phase == TrialPhase::kSuggested);
  next.end(old);
  REQUIRE(next.cluster.dispatcher.sweeps().resume(next.id, "ann").has_value());
  CHECK(next.trial(3).phase == TrialPhase::kRunning);
  CHECK(next.job(3).spec->resume_from_checkpoint == path);
  // This head tells it, too, when the pin is lifted.
  next.start_all();
  next.report_trial(3, 3);
  CHECK(next.told_pins(donor).empty());
}

TEST_CASE("population: a head that finds a clone, and not what follows from it, makes it good") {
  auto disk = std::make_shared<store::MemoryStore>();
  Scene scene(disk);
  scene.begin(population());
  for (const std::int64_t number : {2, 1, 0}) scene.report_trial(number, 2);
  const auto old = scene.trial(3).job, donor = scene.trial(0).job;
  const auto path = Scene::checkpoint(scene.cluster.state(donor), 0);
  auto found = disk->recover();
  REQUIRE(core::fold(found.sweeps.at(0).state,
                     proto::TrialCloned{3, 0, 1, {{"lr", 0.5}}, path, "it is of the lower 1 of 4", 2})
              .has_value());
  test::Cluster next(disk, std::move(found));
  CHECK(next.phase(old) == JobPhase::kStopping);
  REQUIRE(next.state(old).yield.has_value());
  CHECK(next.state(old).yield->cause == proto::YieldCause::kReplaced);
  CHECK(next.state(old).yield->reason == "trial 3 goes on from " + path + ", the checkpoint of trial 0");
  CHECK_FALSE(next.state(old).yield->checkpoint);
  const auto& member = next.dispatcher.sweeps().book().live(scene.id)->state.trial(3);
  CHECK(member.phase == TrialPhase::kRunning);
  CHECK(next.state(member.job).spec->resume_from_checkpoint == path);
  CHECK(next.state(member.job).spec->train_loop_config.at("lr") == 0.5);
  CHECK(next.dispatcher.sweeps().pins_of(donor) == std::vector<std::string>{path});
}

TEST_CASE("population: a sweep that stops ends the clones that it has not submitted") {
  Scene scene;
  scene.begin(population());
  const auto old = scene.trial(3).job;
  for (const std::int64_t number : {2, 1, 0}) scene.report_trial(number, 2);
  REQUIRE(scene.cluster.dispatcher.sweeps().pause(scene.id, "ann").has_value());
  scene.report_trial(3, 2);
  REQUIRE(scene.cluster.dispatcher.sweeps().stop(scene.id, head::Sweeps::StopWhen::kNow, "ann").has_value());
  CHECK(scene.trial(3).phase == TrialPhase::kPruned);
  CHECK(scene.cluster.dispatcher.sweeps().pins_of(scene.trial(0).job).empty());
  for (const std::int64_t number : {0, 1, 2}) scene.end(scene.trial(number).job);
  CHECK(scene.state().phase == SweepPhase::kCancelled);
  CHECK(scene.cluster.phase(old) == JobPhase::kStopping);
}

TEST_CASE("population: nobody goes on from what may be deleted, and nobody whom a user ends") {
  SECTION("a rank whose library knows of no pins keeps one checkpoint") {
    Scene scene;
    scene.begin(population());
    for (const std::int64_t number : {2, 1, 0, 3}) scene.report_trial(number, 2, false);
    CHECK_FALSE(scene.trial(3).from.has_value());
  }
  SECTION("one that keeps all of them deletes none") {
    Scene scene;
    scene.begin(population(Json::object()));
    for (const std::int64_t number : {2, 1, 0, 3}) scene.report_trial(number, 2, false);
    CHECK(scene.trial(3).from.has_value());
  }
  SECTION("a member that is being cancelled") {
    Scene scene;
    scene.begin(population());
    for (const std::int64_t number : {2, 1, 0}) scene.report_trial(number, 2);
    const auto job = scene.trial(3).job;
    REQUIRE(scene.cluster.dispatcher.commands().cancel(job, "ann").has_value());
    scene.report_trial(3, 2);
    CHECK_FALSE(scene.trial(3).from.has_value());
    scene.end(job, 1);
    CHECK(scene.trial(3).phase == TrialPhase::kCancelled);
  }
}

TEST_CASE("population: a head that dies after any event loses no member and pins what it must") {
  for (const int every : {0, 1, 2, 3, 5}) {
    INFO("the head dies after every " << every << ". step");
    auto disk = std::make_shared<store::MemoryStore>();
    auto scene = std::make_unique<Scene>(disk);
    scene->begin(population());
    int steps = 0, clones = 0;
    std::map<JobId, double> epochs;
    const auto maybe_die = [&] {
      if (every == 0 || ++steps % every != 0) return;
      auto next = std::make_unique<Scene>(disk);
      next->id = scene->id;
      next->connect(running_in(*next));
      scene = std::move(next);
    };
    for (int round = 0; round < 200 && !core::is_terminal(scene->state().phase); ++round) {
      scene->start_all();
      maybe_die();
      scene->tick(60);
      scene->start_all();
      for (std::int64_t number = 0; number < 4 && !core::is_terminal(scene->state().phase); ++number) {
        const auto trial = scene->trial(number);
        if (trial.phase != TrialPhase::kRunning || scene->job(number).phase != JobPhase::kRunning) continue;
        const auto [at, is_new] = epochs.emplace(trial.job, trial.from ? trial.resource : 0);
        if (is_new && trial.from) {
          // What it begins with has a pin until now.
          const auto pins = scene->cluster.dispatcher.sweeps().pins_of(trial.from->job);
          CHECK(std::ranges::find(pins, trial.from->checkpoint) != pins.end());
          ++clones;
        }
        if (at->second >= 8) {
          scene->end(trial.job);
        } else {
          at->second += 1;
          scene->report(trial.job, at->second, static_cast<double>(number) + 1 / at->second);
        }
        maybe_die();
      }
      for (const auto one : running_in(*scene))
        if (scene->cluster.phase(one.job) == JobPhase::kStopping) scene->end(one.job);
    }
    CHECK(scene->state().phase == SweepPhase::kSucceeded);
    CHECK(clones > 0);
    for (const auto& trial : scene->state().trials) CHECK(trial.phase == TrialPhase::kCompleted);
    CHECK(scene->cluster.dispatcher.jobs().active().empty());
  }
}

}  // namespace sweeps_population_test
