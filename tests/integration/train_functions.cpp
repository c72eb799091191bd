// Training functions that go wrong in every way, and some that go right. Loaded by the workers of
// worker_jobs.py.
#include <rtrain/rtrain.h>

#include <unistd.h>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <thread>

namespace {

namespace fs = std::filesystem;
using rtrain::Config;

bool is_the_rank(const Config& config) {
  return rtrain::get_context().get_world_rank() == config.value("rank", 1);
}

/// Until someone ends it: the other ranks while one fails.
[[noreturn]] void wait_for_the_end() {
  for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));
}

nlohmann::json who() {
  const auto& context = rtrain::get_context();
  return {{"rank", context.get_world_rank()},           {"world", context.get_world_size()},
          {"local_rank", context.get_local_rank()},     {"node_rank", context.get_node_rank()},
          {"name", context.get_experiment_name()},      {"trial", context.get_trial_name()},
          {"dir", context.get_trial_dir().string()},    {"storage", context.get_storage().string()},
          {"resources", context.get_trial_resources()}, {"attempt", context.get_attempt()},
          {"threads", torch::get_num_threads()},        {"device", rtrain::get_device().str()}};
}

/// A folder with one file of this rank.
rtrain::Checkpoint folder_with(const std::string& text) {
  const auto& context = rtrain::get_context();
  const fs::path folder = fs::temp_directory_path() / ("rtrain-test-" + std::to_string(::getpid()));
  fs::remove_all(folder);
  fs::create_directories(folder / "sub");
  std::ofstream(folder / ("rank-" + std::to_string(context.get_world_rank()))) << text;
  std::ofstream(folder / "sub/all") << text;
  return rtrain::Checkpoint(folder);
}

std::string read(const fs::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

nlohmann::json succeed(const Config&) { return who(); }

void fail_one(const Config& config) {
  const auto how = config.at<std::string>("how");
  std::cout << "rank " << rtrain::get_context().get_world_rank() << " is here" << std::endl;
  if (!is_the_rank(config)) {
    if (config.value("peers", "wait") != std::string("collective")) wait_for_the_end();
    auto tensor = torch::ones({10});
    for (;;) rtrain::process_group().all_reduce(tensor);
  }
  std::cout << "now: " << how << '\n';
  if (how == "throw") throw std::runtime_error("the data is gone");
  if (how == "hyperparameters") throw rtrain::InvalidHyperparameters("width 7 is odd");
  if (how == "throw_torch") (void)torch::ones({2, 3}).matmul(torch::ones({2, 3}));
  if (how == "throw_int") throw 7;
  if (how == "exit0") std::exit(0);
  if (how == "exit3") std::exit(3);
  if (how == "_exit0") ::_exit(0);
  if (how == "segv") std::raise(SIGSEGV);
  if (how == "abort") std::abort();
  if (how == "kill") ::kill(::getpid(), SIGKILL);
  if (how == "config") (void)config.at<double>("how");
}

/// Reports one checkpoint a step; the first attempt dies after `die_after` of them, and may damage the
/// newest.
nlohmann::json resume(const Config& config) {
  int step = 0;
  if (const auto checkpoint = rtrain::get_checkpoint())
    step = std::stoi(read(checkpoint->path() /
                          ("rank-" + std::to_string(rtrain::get_context().get_world_rank())))) +
           1;
  const int begun_at = step;
  for (; step < config.at<int>("steps"); ++step) {
    if (rtrain::get_context().get_attempt() == 1 && step == config.at<int>("die_after") &&
        is_the_rank(config)) {
      if (config.value("damage", false)) std::ofstream(rtrain::get_checkpoint()->path() / "sub/all") << 'x';
      ::kill(::getpid(), SIGKILL);
    }
    rtrain::report({{"step", step}, {"loss", std::abs(step - 2)}}, folder_with(std::to_string(step)));
  }
  return {{"begun_at", begun_at}, {"latest", rtrain::get_checkpoint()->path().string()}};
}

/// As many Ray users do it: rank 0 alone brings the checkpoint, while the ranks talk to each other in
/// between.
void only_rank_zero_reports(const Config&) {
  const bool first = rtrain::get_context().get_world_rank() == 0;
  for (int i = 0; i < 20; ++i) {
    auto tensor = torch::ones({1000});
    rtrain::process_group().all_reduce(tensor);
    if (tensor[0].item<int>() != rtrain::get_context().get_world_size())
      throw std::runtime_error("a collective was disturbed");
    rtrain::report({{"i", i}},
                   first && i % 5 == 4 ? std::optional(folder_with(std::to_string(i))) : std::nullopt);
  }
}

/// Stores its checkpoints beside the training; the first attempt dies while some may still wait. Rank 1
/// brings files of its own, and every rank sees the same checkpoints.
nlohmann::json reports_beside(const Config& config) {
  int step = 0;
  const auto rank = rtrain::get_context().get_world_rank();
  if (const auto checkpoint = rtrain::get_checkpoint())
    step = std::stoi(read(checkpoint->path() / ("rank-" + std::to_string(rank)))) + 1;
  const int begun_at = step;
  for (; step < config.at<int>("steps"); ++step) {
    if (rtrain::get_context().get_attempt() == 1 && step == config.at<int>("die_after") && rank == 1)
      ::kill(::getpid(), SIGKILL);
    const auto checkpoint = rtrain::Checkpoint::temporary();
    std::ofstream(checkpoint.path() / ("rank-" + std::to_string(rank))) << step;
    rtrain::report({{"step", step}}, checkpoint,
                   {.checkpoint_dir_name = "step-" + std::to_string(step),
                    .checkpoint_upload_mode = rtrain::CheckpointUploadMode::kAsync});
    rtrain::report({{"between", step}});
    auto tensor = torch::ones({100});
    rtrain::process_group().all_reduce(tensor);
  }
  auto names = nlohmann::json::array();
  for (const auto& one : rtrain::get_all_reported_checkpoints())
    names.push_back(one.checkpoint.path().filename().string() + " " + one.metrics.at("step").dump());
  std::cout << "kept: " << names.dump() << std::endl;
  return {{"begun_at", begun_at}, {"kept", names}};
}

/// Each checkpoint is validated beside. Waits at last for what the others became, if it is asked to.
nlohmann::json reports_to_validate(const Config& config) {
  int step = 0;
  if (const auto checkpoint = rtrain::get_checkpoint())
    step = std::stoi(read(checkpoint->path() / "rank-0")) + 1;
  for (; step < config.at<int>("steps"); ++step) {
    if (step == config.value("die_after", -1) && rtrain::get_context().get_attempt() == 1)
      ::kill(::getpid(), SIGKILL);
    rtrain::report({{"step", step}}, folder_with(std::to_string(step)),
                   {.validation = rtrain::ValidationTaskConfig{.fn_kwargs = {{"offset", 100}}}});
  }
  auto seen = nlohmann::json::array();
  if (config.value("await", false))
    for (const auto& one : rtrain::get_all_reported_checkpoints())
      seen.push_back({{"step", one.metrics.at("step")},
                      {"status", static_cast<int>(one.status)},
                      {"score", one.metrics.value("score", -1)}});
  return seen;
}

/// The score of checkpoint n is 100 + n. Fails, returns no object, or runs for ever for the steps that are
/// named.
nlohmann::json validate_checkpoint(const Config& config) {
  const auto checkpoint = rtrain::get_checkpoint().value();
  const int step = std::stoi(read(checkpoint.path() / "rank-0"));
  std::cout << "validates step " << step << std::endl;
  if (step == config.value("fails_at", -1))
    throw std::runtime_error("step " + std::to_string(step) + " is no good");
  if (step == config.value("odd_at", -1)) return 7;
  if (step == config.value("hangs_at", -1)) wait_for_the_end();
  return {{"score", config.at<int>("offset") + step}, {"name", rtrain::get_context().get_experiment_name()}};
}

void many_reports(const Config& config) {
  const std::chrono::milliseconds pause(config.value("pause_ms", 0));
  for (int i = 0; i < config.value("count", 1000); ++i) {
    rtrain::report({{"i", i}});
    std::this_thread::sleep_for(pause);
  }
}

/// Its checkpoint does not fit.
void fill_the_disk(const Config& config) {
  const auto folder = folder_with("x");
  std::ofstream(folder.path() / "big") << std::string(config.value<std::size_t>("bytes", 64u << 20), 'x');
  rtrain::report({{"i", 0}}, folder);
}

/// Runs until something outside ends it; says where it is.
void run_for_ever(const Config& config) {
  std::ofstream(config.at<std::string>("pid_file") + std::to_string(rtrain::get_context().get_world_rank()))
      << ::getpid();
  if (::fork() == 0) wait_for_the_end();  // a child of its own: ends with its group
  wait_for_the_end();
}

struct Slow : rtrain::LightningModule {
  torch::nn::Linear layer = register_module("layer", torch::nn::Linear(4, 2));
  rtrain::StepOutput training_step(const rtrain::Batch& batch, std::int64_t) override {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return torch::cross_entropy_loss(layer(batch.input), batch.target);
  }
  torch::Tensor validation_step(const rtrain::Batch& batch, std::int64_t) override {
    return layer(batch.input);
  }
  rtrain::Optimizers configure_optimizers() override { return rtrain::optim::SGD(parameters()); }
};

/// Trains until something outside ends it, or for `max_steps`; a validation follows each epoch of 4 batches.
void fit_for_ever(const Config& config) {
  const auto data = [] {
    return rtrain::DataLoader(
        rtrain::data::TensorDataset(torch::randn({64, 4}), torch::randint(2, {64}, torch::kInt64)),
        {.batch_size = 8});
  };
  rtrain::TrainerOptions options{.max_epochs = -1,
                                 .max_steps = config.value<std::int64_t>("max_steps", -1),
                                 .limit_val_batches = 2,
                                 .enable_checkpointing = false};
  if (const auto name = config.value<std::string>("profiler", ""); !name.empty()) options.profiler = name;
  rtrain::Trainer(std::move(options)).fit(Slow(), data(), data());
}

}  // namespace

RTRAIN_TRAIN_FUNCTION(succeed);
RTRAIN_TRAIN_FUNCTION(fail_one);
RTRAIN_TRAIN_FUNCTION(resume);
RTRAIN_TRAIN_FUNCTION_NAMED(only_rank_zero_reports, "rank_zero");
RTRAIN_TRAIN_FUNCTION(reports_beside);
RTRAIN_TRAIN_FUNCTION(reports_to_validate);
RTRAIN_TRAIN_FUNCTION(validate_checkpoint);
RTRAIN_TRAIN_FUNCTION(many_reports);
RTRAIN_TRAIN_FUNCTION(fill_the_disk);
RTRAIN_TRAIN_FUNCTION(run_for_ever);
RTRAIN_TRAIN_FUNCTION(fit_for_ever);
