#include "cli/sweep_view.h"
#include "tests/support/catch.h"

namespace sweep_view_test {

using namespace rtrain;
using namespace rtrain::cli;

namespace {

proto::TrialDoc trial_doc_of(std::int64_t number, const std::string& state,
                             std::optional<double> value = {}) {
  proto::TrialDoc trial;
  trial.trial = number;
  trial.state = state;
  trial.params = {{"lr", 0.5}};
  trial.value = value;
  trial.resource = 3;
  return trial;
}

proto::SweepDoc sweep_doc_of(const std::vector<proto::TrialDoc>& trials,
                             const std::string& state = "RUNNING") {
  proto::SweepDoc sweep;
  sweep.id = JobId(7);
  sweep.state = state;
  sweep.metric = "loss";
  sweep.trials = static_cast<std::int64_t>(trials.size());
  sweep.trials_max = 8;
  for (const auto& trial : trials) ++sweep.trials_by_state[trial.state];
  return sweep;
}

std::string text_of_pieces(const Pieces& pieces) {
  std::string text;
  for (const auto& piece : pieces) {
    CHECK(piece.to_stderr);
    text += piece.text;
  }
  return text;
}

}  // namespace

TEST_CASE("sweep view: every end of a trial is told once, and what was told is not asked for again") {
  SweepView view({});
  std::vector<proto::TrialDoc> trials{trial_doc_of(0, "RUNNING"), trial_doc_of(1, "COMPLETED", 0.25)};
  CHECK(text_of_pieces(view.on_sweep(sweep_doc_of(trials), trials, 0)) ==
        "trial 1: COMPLETED, loss 0.25 at 3 (lr=0.5)\n"
        "sweep 7: 2 of 8 trials: 1 COMPLETED, 1 RUNNING\n");
  CHECK(view.first_open() == 0);
  CHECK(text_of_pieces(view.on_sweep(sweep_doc_of(trials), trials, 60)).empty());
  trials[0] = trial_doc_of(0, "FAILED");
  trials[0].reason = "exited with code 1";
  trials.push_back(trial_doc_of(2, "PAUSED", 1));
  auto sweep = sweep_doc_of(trials);
  sweep.best_trial = 1;
  sweep.best_value = 0.25;
  CHECK(text_of_pieces(view.on_sweep(sweep, trials, 61)) ==
        "trial 0: FAILED (lr=0.5): exited with code 1\n"
        "sweep 7: 3 of 8 trials: 1 COMPLETED, 1 FAILED, 1 PAUSED; best trial 1, loss 0.25\n");
  CHECK(view.first_open() == 2);
  // The head is asked for the rest only.
  const std::vector rest{trial_doc_of(2, "PRUNED", 1)};
  sweep.state = "SUCCEEDED";
  CHECK(text_of_pieces(view.on_sweep(sweep, rest, 100)) == "trial 2: PRUNED, loss 1 at 3 (lr=0.5)\n");
  CHECK(view.first_open() == 3);
}

TEST_CASE("sweep view: on a terminal one line is redrawn, cut to its width, and taken away") {
  SweepView view({.live = true});
  view.set_width(30);
  std::vector<proto::TrialDoc> trials{trial_doc_of(0, "RUNNING")};
  CHECK(text_of_pieces(view.on_sweep(sweep_doc_of(trials), trials, 0)) == "sweep 7: 1 of 8 trials: 1 RU…");
  trials[0] = trial_doc_of(0, "COMPLETED", 0.5);
  CHECK(text_of_pieces(view.on_sweep(sweep_doc_of(trials, "SUCCEEDED"), trials, 1)) ==
        "\r\x1b[Ktrial 0: COMPLETED, loss 0.5 at 3 (lr=0.5)\n");
  CHECK(text_of_pieces(view.line().finish()).empty());
}

}  // namespace sweep_view_test
