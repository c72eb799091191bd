#include "daemon/core/validation.h"
#include "tests/support/catch.h"
#include "tests/support/job_after.h"

#include <algorithm>

namespace validation_test {

using namespace rtrain;
using namespace rtrain::core;
using namespace rtrain::test;
using proto::JobEvent;
using proto::ValidationStatus;

namespace {

JobState state_after(const std::vector<JobEvent>& events, bool validates = true) {
  auto spec = command_spec(1, 1);
  if (validates) spec.validation.emplace();
  return job_after(std::move(spec), events);
}

const std::vector<JobEvent> kRuns{placed(1, 1), entered(1, 0), report_to_validate(1, 1, 0),
                                  proto::ValidationStarted{0, JobId(9)}};

std::vector<JobEvent> then(std::vector<JobEvent> events, const std::vector<JobEvent>& more) {
  events.insert(events.end(), more.begin(), more.end());
  return events;
}

template <class T>
int number_of(const std::vector<Action>& actions) {
  return static_cast<int>(
      std::ranges::count_if(actions, [](const Action& action) { return std::holds_alternative<T>(action); }));
}

JobState child(JobPhase phase, proto::Json return_value = nullptr) {
  JobState state;
  state.id = JobId(9);
  state.phase = phase;
  state.return_value = std::move(return_value);
  state.cancelled_by = "bob";
  return state;
}

}  // namespace

TEST_CASE("validation: what it returned is merged into the metrics of its checkpoint, while the job runs") {
  auto state = state_after(kRuns);
  REQUIRE(checkpoint_of(state, 0) != nullptr);
  CHECK(checkpoint_of(state, 0)->pinned());
  CHECK(checkpoint_of(state, 0)->validation->job == JobId(9));
  CHECK(awaits_validation(state));
  state = state_after(then(kRuns, {validated(0, {{"accuracy", 0.9}, {"loss", 0.5}})}));
  CHECK(state.phase == JobPhase::kRunning);
  CHECK_FALSE(awaits_validation(state));
  CHECK(state.checkpoints[0].metrics == proto::Json{{"accuracy", 0.9}, {"loss", 0.5}});
  CHECK(state.checkpoints[0].validation->status == ValidationStatus::kValidated);
  CHECK(state.metrics == proto::Json{{"loss", 1.0}});  // of the report
}

TEST_CASE("validation: a rank can only ask for one, and only where the job says how") {
  auto event = std::get<proto::MetricsReported>(report_to_validate(1, 1, 0));
  event.checkpoint->validation =
      proto::CheckpointValidation{ValidationStatus::kValidated, {{"k", 1}}, 5, JobId(3), "x"};
  const auto asked = state_after({placed(1, 1), entered(1, 0), event});
  const auto& validation = *asked.checkpoints.at(0).validation;
  CHECK(validation.pending());
  CHECK(validation.job == JobId(0));
  CHECK(validation.error.empty());
  CHECK(validation.fn_kwargs == proto::Json{{"k", 1}});
  CHECK(validation.timeout_s == 5);
  const auto none = state_after({placed(1, 1), entered(1, 0), event}, false);
  CHECK_FALSE(none.checkpoints.at(0).validation.has_value());
}

TEST_CASE("validation: started and ended once, of a checkpoint that is kept") {
  auto state = state_after(kRuns);
  CHECK(advance(state, {9, proto::ValidationStarted{0, JobId(10)}}).error().message() ==
        "validation_started: job 9 validates checkpoint 0 already");
  CHECK(advance(state, {9, proto::ValidationStarted{1, JobId(10)}}).error().message() ==
        "validation_started: no validation of checkpoint 1 of job 7 is pending");
  CHECK(advance(state, {9, proto::ValidationEnded{0, ValidationStatus::kPending, {}, {}}}).has_error());
  REQUIRE(advance(state, {9, validated(0)}).has_value());
  CHECK(advance(state, {9, validated(0, {{"accuracy", 0.1}})}).has_error());
  CHECK(state.checkpoints[0].metrics["accuracy"] == 0.9);
  // Deleted meanwhile by an attempt that knew nothing of it.
  state = state_after(kRuns);
  REQUIRE(advance(state, {9, proto::MetricsReported{Attempt(1), 2, {}, {}, {"/runs/job_7/checkpoint_0"}}})
              .has_value());
  CHECK_FALSE(awaits_validation(state));
  CHECK(advance(state, {9, validated(0)}).has_error());
}

TEST_CASE("validation: a job whose ranks are through waits for it without resources") {
  auto state = state_after(then(kRuns, {exited(1, 0)}));
  CHECK(state.phase == JobPhase::kValidating);
  CHECK(state.ended_ms == 0);
  CHECK_FALSE(has_attempt(state.phase));
  CHECK(number_of<FreeResources>(actions(JobPhase::kRunning, state, ended(1))) == 1);
  // A failed one is an end, too: the job has done its work.
  const proto::ValidationEnded failed{0, ValidationStatus::kFailed, proto::Json::object(), "job 9 failed"};
  REQUIRE(advance(state, {2000, failed}).has_value());
  CHECK(state.phase == JobPhase::kSucceeded);
  CHECK(state.ended_ms == 2000);
  CHECK(state.checkpoints[0].metrics == proto::Json{{"loss", 1.0}});
  CHECK(state.checkpoints[0].validation->error == "job 9 failed");
  const auto due = actions(JobPhase::kValidating, state, failed);
  CHECK(due.size() == 1);
  CHECK(number_of<EndJob>(due) == 1);
  // Two of them: the last one ends the job.
  state = state_after(then(kRuns, {report_to_validate(1, 2, 1), exited(1, 0), validated(1)}));
  CHECK(state.phase == JobPhase::kValidating);
}

TEST_CASE("validation: a job that ends otherwise waits for none, and cancels it") {
  auto state = state_after(then(kRuns, {cancel()}));
  CHECK(state.phase == JobPhase::kStopping);
  CHECK(checkpoint_of(state, 0)->pinned());
  auto due = actions(JobPhase::kRunning, state, cancel());
  CHECK(number_of<CancelValidations>(due) == 1);
  CHECK(number_of<StopRanks>(due) == 1);

  state = state_after(then(kRuns, {exited(1, 0), cancel()}));
  CHECK(state.phase == JobPhase::kCancelled);
  CHECK(state.checkpoints[0].validation->status == ValidationStatus::kFailed);
  CHECK(state.checkpoints[0].validation->error == "the job was cancelled before its validation had ended");
  due = actions(JobPhase::kValidating, state, cancel());
  CHECK(number_of<CancelValidations>(due) == 1);
  CHECK(number_of<EndJob>(due) == 1);
  CHECK(number_of<StopRanks>(due) == 0);

  state = state_after(then(kRuns, {time_limit(1), killed(1, 0)}));
  CHECK(state.phase == JobPhase::kFailed);
  CHECK(state.checkpoints[0].validation->error == "the job failed before its validation had ended");
  CHECK(number_of<CancelValidations>(actions(JobPhase::kStopping, state, ended(1))) == 1);
}

TEST_CASE("validation: it outlives the attempt that asked for it") {
  const auto state = state_after(then(kRuns, {exited(1, 0, 3), placed(2, 1), entered(2, 0)}));
  CHECK(state.phase == JobPhase::kRunning);
  CHECK(awaits_validation(state));
  auto told = state;
  REQUIRE(advance(told, {9, validated(0)}).has_value());
  CHECK(number_of<TellValidated>(actions(JobPhase::kRunning, told, validated(0))) == 1);
}

TEST_CASE("validation: actions of a report that asks for one") {
  const auto state = state_after({placed(1, 1), entered(1, 0), report_to_validate(1, 1, 4)});
  const auto due = actions(JobPhase::kRunning, state, report_to_validate(1, 1, 4));
  REQUIRE(due.size() == 1);
  CHECK(std::get<StartValidation>(due[0]).index == 4);
}

TEST_CASE("validation: the job of a validation") {
  auto parent = state_after(kRuns);
  auto spec = *parent.spec;
  spec.name = std::string(128, 'n');
  spec.scaling_config.label_selector = {{"rack", {}}};
  spec.scaling_config.accelerator_type = "H100";
  spec.scheduling.queue = "small";
  spec.scheduling.priority = 3;
  spec.scheduling.hold = true;
  spec.env = {{"A", "1"}};
  spec.run_config.failure_config.max_failures = 5;
  auto& validation = *spec.validation;
  validation.train_func = proto::TrainFunc{"/lib.so", "validate"};
  validation.train_loop_config = {{"folds", 1}, {"seed", 2}};
  validation.timeout_s = 60;
  parent.spec = proto::SharedSpec(spec);
  auto checkpoint = parent.checkpoints[0];
  checkpoint.validation->fn_kwargs = {{"folds", 5}};

  auto made = validation_spec(parent, checkpoint);
  CHECK(made.name.size() == 128);
  CHECK(made.name.ends_with("n-validation"));
  CHECK(made.train_func == validation.train_func);
  CHECK(made.command.empty());
  CHECK(made.train_loop_config == proto::Json{{"folds", 5}, {"seed", 2}});
  CHECK(made.scaling_config.num_workers == 1);
  CHECK(made.scaling_config.resources() == proto::Resources{{"CPU", 1}});
  CHECK(made.scaling_config.label_selector == spec.scaling_config.label_selector);
  CHECK(made.scaling_config.accelerator_type.empty());
  CHECK(made.scheduling.queue == "small");
  CHECK(made.scheduling.priority == 3);
  CHECK_FALSE(made.scheduling.hold);
  CHECK(made.scheduling.time_limit_s == 60);
  CHECK(made.env == spec.env);
  CHECK(made.run_config.failure_config.max_failures == 0);
  CHECK(made.run_config.storage_path == "/runs/job_7/validations");
  CHECK(made.resume_from_checkpoint == "/runs/job_7/checkpoint_0");
  CHECK_FALSE(made.validation.has_value());

  checkpoint.validation->timeout_s = 5;
  validation.resources = proto::Resources{{"GPU", 0.5}};
  validation.train_func.reset();
  parent.spec = proto::SharedSpec(spec);
  made = validation_spec(parent, checkpoint);
  CHECK(made.scheduling.time_limit_s == 5);
  CHECK(made.scaling_config.use_gpu);
  CHECK(made.scaling_config.accelerator_type == "H100");
  CHECK(made.scaling_config.resources() == proto::Resources{{"CPU", 1}, {"GPU", 0.5}});
  CHECK(made.command == spec.command);
}

TEST_CASE("validation: what the end of its job says") {
  auto told = validation_ended(child(JobPhase::kSucceeded, {{"accuracy", 0.5}}), 3);
  CHECK(told.index == 3);
  CHECK(told.status == ValidationStatus::kValidated);
  CHECK(told.metrics == proto::Json{{"accuracy", 0.5}});
  CHECK(told.error.empty());
  CHECK(validation_ended(child(JobPhase::kSucceeded), 3).error ==
        "job 9 returned nothing; a validation function returns an object of metrics");
  told = validation_ended(child(JobPhase::kSucceeded, 0.5), 3);
  CHECK(told.status == ValidationStatus::kFailed);
  CHECK(told.error ==
        "job 9 returned a value of type number; a validation function returns an object of metrics");
  CHECK(validation_ended(child(JobPhase::kSucceeded, {{"big", std::string(300'000, 'x')}}), 3).error ==
        "job 9 returned 300010 bytes of metrics; at most 262144 are stored");
  CHECK(validation_ended(child(JobPhase::kCancelled), 3).error == "job 9 was cancelled by bob");
  auto failed = child(JobPhase::kFailed);
  failed.error = proto::JobError{"exception", "rank 0 on node a: no good", 0, "a", 1, {}, {}};
  told = validation_ended(failed, 3);
  CHECK(told.status == ValidationStatus::kFailed);
  CHECK(told.error == "job 9 failed: rank 0 on node a: no good");
  failed.error->kind = "time_limit";
  failed.error->message = "ran into its time limit of 60 s";
  told = validation_ended(failed, 3);
  CHECK(told.status == ValidationStatus::kTimeout);
  CHECK(told.error == "job 9 ran into its time limit of 60 s");
}

TEST_CASE("validation: a finished trial waits for it, and a pruned one gives it up") {
  const auto ends = [](proto::YieldCause cause, const JobEvent& rank) {
    return then(kRuns, {proto::YieldRequested{Attempt(1), cause, "rung 3", 20, false, true}, rank});
  };
  auto state = state_after(ends(proto::YieldCause::kFinished, yielded(1, 0)));
  CHECK(state.phase == JobPhase::kValidating);
  CHECK(state.verdict == "finished: rung 3");
  REQUIRE(advance(state, {5000, validated(0, {{"accuracy", 0.9}})}).has_value());
  CHECK(state.phase == JobPhase::kSucceeded);
  // A rank that was killed has not finished.
  state = state_after(ends(proto::YieldCause::kFinished, killed(1, 0, 9)));
  CHECK(state.phase == JobPhase::kCancelled);
  state = state_after(ends(proto::YieldCause::kPruned, yielded(1, 0)));
  CHECK(state.phase == JobPhase::kCancelled);
  CHECK(number_of<CancelValidations>(actions(JobPhase::kStopping, state, ended(1))) == 1);
}

}  // namespace validation_test
