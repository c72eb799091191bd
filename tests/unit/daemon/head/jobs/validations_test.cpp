// Checkpoints that are validated beside the training, by jobs of the head.
#include "tests/support/catch.h"
#include "tests/unit/daemon/head/fake_agent.h"

namespace validations_test {

using namespace rtrain;
using core::JobPhase;
using proto::ValidationStatus;

namespace {

constexpr Attempt k1(1), k2(2);
constexpr double kTimeoutS = 60;

/// A job of one rank that runs on node a, and may validate.
struct Training {
  explicit Training(double cpus = 4, proto::HeadConfig config = {})
      : cluster(std::move(config)),
        a(cluster.connect("a", cpus)),
        id(cluster.submit(1, 1, [](proto::JobSpec& spec) {
          spec.working_dir = "/";
          spec.validation.emplace().timeout_s = kTimeoutS;
        })) {
    start(id, k1);
  }
  void start(JobId job, Attempt attempt) {
    cluster.reserve(*a);
    cluster.start(*a, job, attempt, 0);
    REQUIRE(cluster.phase(job) == JobPhase::kRunning);
  }
  void report(std::int64_t seq, std::int64_t index, Attempt attempt = k1) {
    proto::RankReport report{.key = {id, attempt, 0}, .seq = seq, .metrics = {{"loss", 0.5}}};
    report.checkpoint = proto::CheckpointRecord{"/results/job/checkpoint_" + std::to_string(index), index,
                                                report.metrics, proto::CheckpointValidation{}};
    cluster.dispatcher.agent_says(*a, report);
  }
  void end(JobId job, Attempt attempt, proto::Json return_value = nullptr) {
    proto::RankEnded end;
    end.key = {job, attempt, 0};
    end.status.exit_code = 0;
    end.return_value = std::move(return_value);
    cluster.dispatcher.agent_says(*a, end);
  }
  void pass(double seconds) {
    for (double left = seconds; left > 0; left -= 1) {
      cluster.pass(std::min(left, 1.0));
      cluster.dispatcher.agent_says(*a, proto::Heartbeat{});
      cluster.dispatcher.tick();
    }
  }
  const proto::CheckpointRecord& checkpoint(std::int64_t index) {
    return *core::checkpoint_of(cluster.state(id), index);
  }
  JobId child(std::int64_t index) { return checkpoint(index).validation->job; }

  test::Cluster cluster;
  std::shared_ptr<test::FakeAgent> a;
  JobId id;
};

}  // namespace

TEST_CASE("dispatcher: a checkpoint is validated by a job beside the training") {
  Training training;
  training.report(1, 0);
  const auto child = training.child(0);
  REQUIRE(child.value() == training.id.value() + 1);
  const auto& state = training.cluster.state(child);
  CHECK(state.phase == JobPhase::kStarting);
  REQUIRE(state.validates.has_value());
  CHECK(state.validates->job == training.id);
  CHECK(state.validates->path == "/results/job/checkpoint_0");
  CHECK(state.run_dir.starts_with(training.cluster.state(training.id).run_dir +
                                  "/validations/job-validation_"));
  training.start(child, k1);
  const auto launch = training.a->all<proto::Launch>().back();
  REQUIRE(launch.validates.has_value());
  CHECK(launch.validates->index == 0);
  CHECK(launch.spec.resume_from_checkpoint == "/results/job/checkpoint_0");
  CHECK(training.a->all<proto::CheckpointValidated>().empty());

  training.end(child, k1, {{"accuracy", 0.9}});
  CHECK(training.cluster.phase(training.id) == JobPhase::kRunning);
  CHECK(training.checkpoint(0).metrics == proto::Json{{"loss", 0.5}, {"accuracy", 0.9}});
  const auto told = training.a->all<proto::CheckpointValidated>();
  REQUIRE(told.size() == 1);
  CHECK(told[0].job == training.id);
  CHECK(told[0].attempt == k1);
  CHECK(told[0].checkpoint.metrics == training.checkpoint(0).metrics);
  training.end(training.id, k1);
  CHECK(training.cluster.phase(training.id) == JobPhase::kSucceeded);
}

TEST_CASE(
    "dispatcher: a validation that needs the place of the training gets it when the ranks are through") {
  Training training(1);
  const auto behind = training.cluster.submit(1, 0, [&](proto::JobSpec& spec) {
    spec.scheduling.depends_on = {{proto::DependencyKind::kAfterOk, training.id}};
  });
  training.report(1, 0);
  const auto child = training.child(0);
  CHECK(training.cluster.phase(child) == JobPhase::kQueued);
  training.end(training.id, k1);
  CHECK(training.cluster.phase(training.id) == JobPhase::kValidating);
  CHECK(training.cluster.phase(behind) == JobPhase::kQueued);
  training.start(child, k1);
  training.end(child, k1, {{"accuracy", 0.9}});
  CHECK(training.cluster.phase(training.id) == JobPhase::kSucceeded);
  CHECK(training.cluster.phase(behind) == JobPhase::kStarting);
  CHECK(training.cluster.dispatcher.nodes().find("a")->view.used.at("CPU") == 1);
}

TEST_CASE("dispatcher: a validation that fails leaves the checkpoint, and the job goes on") {
  Training training;
  training.report(1, 0);
  const auto child = training.child(0);
  training.start(child, k1);
  training.cluster.end(*training.a, child, k1, 0, 3);
  CHECK(training.cluster.phase(training.id) == JobPhase::kRunning);
  const auto& validation = *training.checkpoint(0).validation;
  CHECK(validation.status == ValidationStatus::kFailed);
  CHECK(validation.error == "job " + to_string(child) + " failed: rank 0 on node a: exited with code 3");
  CHECK(training.checkpoint(0).metrics == proto::Json{{"loss", 0.5}});
}

TEST_CASE("dispatcher: a validation has a time limit, and is not waited for in the queue for ever") {
  Training training(2);
  training.report(1, 0);
  training.report(2, 1);  // waits for a place
  const auto first = training.child(0), second = training.child(1);
  training.start(first, k1);
  CHECK(training.cluster.phase(second) == JobPhase::kQueued);
  SECTION("while it runs") {
    training.pass(kTimeoutS + 1);
    CHECK(training.cluster.phase(first) == JobPhase::kStopping);
    training.end(first, k1, {{"accuracy", 0.9}});
    CHECK(training.checkpoint(0).validation->status == ValidationStatus::kTimeout);
    CHECK(training.checkpoint(1).pinned());
  }
  SECTION("once the training is over") {
    const auto blocks =
        training.cluster.submit(1, 0, [](proto::JobSpec& spec) { spec.scheduling.priority = 9; });
    training.end(training.id, k1);
    CHECK(training.cluster.phase(blocks) == JobPhase::kStarting);
    training.end(first, k1, {{"accuracy", 0.9}});
    const auto more =
        training.cluster.submit(2, 0, [](proto::JobSpec& spec) { spec.scheduling.priority = 9; });
    (void)more;
    if (training.cluster.phase(second) != JobPhase::kQueued) training.start(second, k1);
    CHECK(training.cluster.phase(training.id) == JobPhase::kValidating);
    training.pass(2 * kTimeoutS + 2);
    if (training.cluster.phase(second) == JobPhase::kStopping) training.end(second, k1);
    CHECK(training.cluster.phase(training.id) == JobPhase::kSucceeded);
    CHECK(training.checkpoint(1).validation->status == ValidationStatus::kTimeout);
  }
}

TEST_CASE("dispatcher: a validation that cannot start in time is cancelled, and says why") {
  Training training(1);
  training.report(1, 0);
  const auto child = training.child(0);
  const auto first =
      training.cluster.submit(1, 0, [](proto::JobSpec& spec) { spec.scheduling.priority = 9; });
  training.end(training.id, k1);
  training.start(first, k1);
  REQUIRE(training.cluster.phase(child) == JobPhase::kQueued);
  training.pass(kTimeoutS - 1);
  CHECK(training.cluster.phase(training.id) == JobPhase::kValidating);
  training.pass(2);
  CHECK(training.cluster.phase(training.id) == JobPhase::kSucceeded);
  CHECK(training.cluster.phase(child) == JobPhase::kCancelled);
  const auto& validation = *training.checkpoint(0).validation;
  CHECK(validation.status == ValidationStatus::kTimeout);
  CHECK(validation.error.starts_with("job " + to_string(child) + " did not start in time: "));
}

TEST_CASE("dispatcher: who cancels a job cancels its validations") {
  Training training;
  training.report(1, 0);
  const auto child = training.child(0);
  training.start(child, k1);
  SECTION("while it runs") {
    REQUIRE(training.cluster.dispatcher.commands().cancel(training.id, "ann").has_value());
    CHECK(training.cluster.phase(child) == JobPhase::kStopping);
    training.cluster.end(*training.a, child, k1, 0, 15);
    CHECK(training.checkpoint(0).validation->error == "job " + to_string(child) + " was cancelled by ann");
    training.cluster.end(*training.a, training.id, k1, 0, 15);
    CHECK(training.cluster.phase(training.id) == JobPhase::kCancelled);
  }
  SECTION("while it waits for them") {
    training.end(training.id, k1);
    REQUIRE(training.cluster.phase(training.id) == JobPhase::kValidating);
    REQUIRE(training.cluster.dispatcher.commands().cancel(training.id, "ann").has_value());
    CHECK(training.cluster.phase(training.id) == JobPhase::kCancelled);
    CHECK(training.cluster.phase(child) == JobPhase::kStopping);
    training.cluster.end(*training.a, child, k1, 0, 15);
    CHECK(training.cluster.phase(child) == JobPhase::kCancelled);
  }
  SECTION("and the validation alone is only a validation") {
    REQUIRE(training.cluster.dispatcher.commands().cancel(child, "ann").has_value());
    training.cluster.end(*training.a, child, k1, 0, 15);
    CHECK(training.cluster.phase(training.id) == JobPhase::kRunning);
    CHECK(training.checkpoint(0).validation->status == ValidationStatus::kFailed);
  }
}

TEST_CASE("dispatcher: a validation waits for room in the queue") {
  proto::HeadConfig config;
  config.queue_max = 1;
  Training training(1, config);
  const auto waits = training.cluster.submit(1);
  training.report(1, 0);
  CHECK(training.checkpoint(0).pinned());
  CHECK(training.child(0) == JobId(0));
  REQUIRE(training.cluster.dispatcher.commands().cancel(waits, "ann").has_value());
  training.pass(1);
  CHECK(training.child(0).value() > 0);
}

TEST_CASE("dispatcher: an agent that comes back hears of what was validated meanwhile") {
  Training training;
  training.report(1, 0);
  const auto child = training.child(0);
  training.start(child, k1);
  training.end(child, k1, {{"accuracy", 0.9}});
  training.cluster.dispatcher.agent_left(*training.a);
  const auto again = training.cluster.connect("a", 4, {{training.id, k1, 0}});
  const auto told = again->all<proto::CheckpointValidated>();
  REQUIRE(told.size() == 1);
  CHECK(told[0].checkpoint.metrics["accuracy"] == 0.9);
}

TEST_CASE("dispatcher: the next attempt begins with what was validated, and what is being validated") {
  Training training;
  training.report(1, 0);
  training.report(2, 1);
  const auto child = training.child(0);
  training.start(child, k1);
  training.end(child, k1, {{"accuracy", 0.9}});
  training.cluster.end(*training.a, training.id, k1, 0, 3);
  training.start(training.id, k2);
  const auto launch = training.a->all<proto::Launch>().back();
  REQUIRE(launch.checkpoints.size() == 2);
  CHECK(launch.checkpoints[0].validation->status == ValidationStatus::kValidated);
  CHECK(launch.checkpoints[0].metrics["accuracy"] == 0.9);
  CHECK(launch.checkpoints[1].pinned());
}

}  // namespace validations_test
