// A program that trains once and then searches, as a user would write it. Prints one JSON line for
// worker_tuner.py.
#include <rtrain/rtrain.h>

#include <iostream>

namespace {

/// Values of a trial's JSON answer; its trial is the number of the row.
nlohmann::json answer(const rtrain::TrialResult& trial) {
  return {
      {"trial", trial.trial},
      {"state", trial.state},
      {"params", trial.params},
      {"config", trial.config},
      {"metrics", trial.metrics},
      {"path", trial.path.string()},
      {"reports", trial.path.empty() ? 0 : trial.metrics_dataframe().size()},
      {"error", trial.error ? nlohmann::json{{"kind", trial.error->kind}, {"message", trial.error->message}}
                            : nlohmann::json()}};
}

}  // namespace

int main(int argc, char** argv) {
  namespace tune = rtrain::tune;
  const std::string storage = argc > 1 ? argv[1] : "results";
  const auto train = [](const rtrain::Config& config) {
    const auto lr = config.at<double>("lr");
    const auto width = config.value("model.width", 8);
    if (width == 13) throw rtrain::InvalidHyperparameters("model.width is 13, no multiple of 2");
    if (width == 14) throw std::runtime_error("out of luck");
    for (int epoch = 1; epoch <= config.at<int>("epochs"); ++epoch)
      rtrain::report({{"epoch", epoch}, {"loss", lr + width + 1.0 / epoch}});
  };
  const auto single =
      rtrain::TorchTrainer(train, {.num_workers = 1}, {.name = "single", .storage_path = storage},
                           {{"lr", 0.5}, {"epochs", 1}})
          .fit();
  // Uses what the first gave: the workers of the trials see the same.
  const double base = single.metrics.at("loss").get<double>();

  const auto grid =
      rtrain::Tuner(
          train,
          {.param_space = {{"lr", tune::choice({base})}, {"model.width", tune::grid_search({2, 4, 13, 14})}},
           .tune_config = {.metric = "loss", .max_concurrent_trials = 2},
           .run_config = {.name = "search", .storage_path = storage, .failure_config = {.max_failures = 1}},
           .train_loop_config = {{"epochs", 2}}})
          .fit();
  // A worker of the third call finds the grid of the second.
  const auto again =
      rtrain::TorchTrainer(train, {.num_workers = 1}, {.name = "again", .storage_path = storage},
                           grid.get_best_result().config)
          .fit();
  auto trials = nlohmann::json::array();
  for (const auto& trial : grid) trials.push_back(answer(trial));
  std::cout << nlohmann::json{{"state", grid.state()},
                              {"reason", grid.reason()},
                              {"trials", trials},
                              {"best", grid.get_best_result().params},
                              {"worst", grid.get_best_result("loss", "max", "last").params},
                              {"errors", grid.num_errors()},
                              {"terminated", grid.num_terminated()},
                              {"again", again.metrics},
                              {"rows", grid.get_dataframe().size()}}
                   .dump()
            << std::endl;
}
