// A program with two fit() calls, as a user would write it. Prints one JSON line for worker_program.py.
#include <rtrain/rtrain.h>

#include <iostream>

namespace {

nlohmann::json answer(const std::optional<rtrain::TrainingError>& error) {
  if (!error) return nullptr;
  return {{"kind", error->kind},
          {"message", error->message},
          {"rank", error->rank ? nlohmann::json(*error->rank) : nlohmann::json()}};
}

}  // namespace

int main(int argc, char** argv) {
  const std::string storage = argc > 1 ? argv[1] : "results";
  const auto train = [](const rtrain::Config& config) {
    const auto& context = rtrain::get_context();
    rtrain::report({{"loss", config.value("loss", 0.0)}, {"world", context.get_world_size()}});
    std::cout << "rank " << context.get_world_rank() << " trains" << std::endl;
    return std::string(200'000, 'x');  // more than a variable of the environment holds
  };
  auto heard = nlohmann::json::array();
  const auto first = rtrain::TorchTrainer(train, {.num_workers = 2},
                                          {.name = "first", .storage_path = storage}, {{"loss", 0.25}})
                         .on_report([&](const rtrain::ReportedRow& row) {
                           heard.push_back({row.attempt, row.report, row.metrics.at("loss")});
                         })
                         .fit();

  // Uses what the first gave: a worker of the second sees the same.
  const double loss = first.metrics.at("loss").get<double>();
  const auto fail = [loss](const rtrain::Config&) {
    throw std::runtime_error("loss was " + std::to_string(loss));
  };
  const auto second =
      rtrain::TorchTrainer(fail, {.num_workers = 1}, {.name = "second", .storage_path = storage}).fit();

  std::cout << nlohmann::json{{"metrics", first.metrics},
                              {"path", first.path.string()},
                              {"returned", first.return_value.get<std::string>().size()},
                              {"heard", heard},
                              {"rows", first.metrics_dataframe().size()},
                              {"first_error", answer(first.error)},
                              {"second_error", answer(second.error)}}
                   .dump()
            << std::endl;
}
