// Training functions that make way, hang, report faster than anybody listens, and are killed between the
// callbacks of an epoch's end. Loaded by the workers of worker_yield.py, worker_hang.py, worker_debug.py and
// worker_trainer.py.
#include <rtrain/rtrain.h>

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include <unistd.h>

namespace {

namespace fs = std::filesystem;
using rtrain::Config;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

void pause(std::int64_t ms) { std::this_thread::sleep_for(milliseconds(ms)); }
int rank() { return rtrain::get_context().get_world_rank(); }

/// A folder with one file of this rank.
rtrain::Checkpoint folder_with(const std::string& text) {
  const fs::path folder = fs::temp_directory_path() / ("rtrain-test-" + std::to_string(::getpid()));
  fs::create_directories(folder);
  std::ofstream(folder / ("rank-" + std::to_string(rank()))) << text;
  return rtrain::Checkpoint(folder);
}

std::int64_t step_of(const rtrain::Checkpoint& checkpoint) {
  std::ifstream file(checkpoint.path() / ("rank-" + std::to_string(rank())));
  std::int64_t step = 0;
  file >> step;
  return step;
}

/// What a user writes who has no Trainer. Ranks that do not talk to each other are far apart: rank r pauses r
/// times as long.
nlohmann::json plain_loop(const Config& config) {
  const auto begun = rtrain::get_checkpoint() ? step_of(*rtrain::get_checkpoint()) : 0;
  auto tensor = torch::ones({8});
  for (auto step = begun; step < config.at<std::int64_t>("steps"); ++step) {
    if (rtrain::should_yield()) {
      rtrain::report({{"step", step}}, folder_with(std::to_string(step)));
      return {{"ended", "yielded"}};
    }
    pause(config.value<std::int64_t>("pause_ms", 1) * (config.value("together", false) ? 1 : 1 + 3 * rank()));
    if (config.value("together", false)) rtrain::process_group().all_reduce(tensor);
    if (rank() == 0)
      std::ofstream(rtrain::get_context().get_trial_dir() / "steps", std::ios::app) << step << '\n';
  }
  return {{"begun", begun}, {"attempt", rtrain::get_context().get_attempt()}};
}

/// Everything that a place in training consists of. Feature 0 is the sample's number.
struct Net : rtrain::LightningModule {
  explicit Net(const Config& given)
      : config(given),
        seen(rtrain::get_context().get_trial_dir() /
             ("seen-" + std::to_string(rtrain::get_context().get_attempt()) + "-" + std::to_string(rank()))) {
  }
  torch::nn::Linear layer = register_module("layer", torch::nn::Linear(4, 2));
  torch::nn::BatchNorm1d norm = register_module("norm", torch::nn::BatchNorm1d(2));
  torch::nn::Dropout dropout = register_module("dropout", torch::nn::Dropout(0.3));
  Config config;
  std::ofstream seen;
  bool trained = false;  ///< else it is the sanity check
  rtrain::StepOutput training_step(const rtrain::Batch& batch, std::int64_t) override {
    for (std::int64_t i = 0; i < batch.size(); ++i)
      seen << current_epoch() << ' ' << batch.input[i][0].item<int>() << std::endl;
    pause(config.value<std::int64_t>("step_ms", 0));
    trained = true;
    const auto loss = dropout(norm(layer(batch.input / 100))).pow(2).mean();
    log("loss", loss, {.on_step = true, .on_epoch = true});
    return loss;
  }
  torch::Tensor validation_step(const rtrain::Batch& batch, std::int64_t batch_idx) override {
    if (batch_idx == 0 && trained) seen << "validation" << std::endl;
    pause(config.value<std::int64_t>("val_ms", 0));
    log("noise", torch::rand({}), {.sync_dist = true});  // draws, too
    return layer(batch.input);
  }
  rtrain::Optimizers configure_optimizers() override {
    return rtrain::optim::Adam(parameters(), {.lr = 0.01});
  }
};

nlohmann::json with_trainer(const Config& config) {
  torch::manual_seed(1);
  const auto samples = config.at<std::int64_t>("samples");
  auto input = torch::randn({samples, 4});
  input.select(1, 0).copy_(torch::arange(samples));
  const rtrain::DataLoader train(rtrain::data::TensorDataset(input),
                                 {.batch_size = config.value<std::int64_t>("batch", 4), .shuffle = true});
  const bool uneven = config.value("uneven_validation", false);  // rank 1 has fewer batches than rank 0
  const rtrain::DataLoader val(rtrain::data::TensorDataset(torch::randn({uneven && rank() == 1 ? 8 : 40, 4})),
                               {.batch_size = 4});
  Net net(config);
  rtrain::Trainer trainer({.max_epochs = config.value<std::int64_t>("epochs", 2),
                           .accumulate_grad_batches = config.value<std::int64_t>("accumulate", 1),
                           .elastic_batch = config.value<std::string>("elastic_batch", "per_worker"),
                           .strategy = config.value<std::string>("strategy", "ddp"),
                           .callbacks = {rtrain::TrainReportCallback()},
                           .use_distributed_sampler = !uneven});
  trainer.fit(net, train, config.value("validate", false) ? val : rtrain::DataLoader(),
              rtrain::get_checkpoint());
  double digest = 0;
  rtrain::full_parameters(net, [&] {
    for (const auto& p : net.parameters()) digest += p.detach().to(torch::kDouble).abs().sum().item<double>();
  });
  for (const auto& b : net.buffers()) digest += b.to(torch::kDouble).abs().sum().item<double>();
  return {{"digest", digest},
          {"steps", trainer.global_step()},
          {"attempt", rtrain::get_context().get_attempt()},
          {"world", rtrain::get_context().get_world_size()}};
}

/// Kills its rank at the end of the epoch that has the number of the attempt, right before or after the
/// report.
struct Killer : rtrain::Callback {
  std::int64_t first_epoch;
  explicit Killer(std::int64_t first) : first_epoch(first) {}
  void on_train_epoch_end(rtrain::Trainer& trainer, rtrain::LightningModule&) override {
    if (trainer.current_epoch() != first_epoch + rtrain::get_context().get_attempt() - 1) return;
    pause(300);  // a report is on its way to the agent
    ::kill(::getpid(), SIGKILL);
  }
  rtrain::CallbackOrder order() const override { return rtrain::CallbackOrder::kReport; }
};

/// val_loss is 9, 5, 7, 3, 6, 8, 9, ...: the best comes in epoch 3, and patience 2 ends after epoch 5.
struct Scored : rtrain::LightningModule {
  torch::nn::Linear layer = register_module("layer", torch::nn::Linear(4, 2));
  rtrain::StepOutput training_step(const rtrain::Batch& batch, std::int64_t) override {
    return layer(batch.input).pow(2).mean();
  }
  torch::Tensor validation_step(const rtrain::Batch&, std::int64_t) override {
    static constexpr double kScores[]{9, 5, 7, 3, 6, 8, 9, 9, 9, 9, 9, 9};
    log("val_loss", kScores[current_epoch()], {.sync_dist = true});
    return {};
  }
  rtrain::Optimizers configure_optimizers() override { return rtrain::optim::SGD(parameters(), {.lr = 0.1}); }
};

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  if (!fs::exists(folder)) return names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

/// config "kill": "before", "after" the report, or "never"; "strategy": a name.
nlohmann::json stops_early(const Config& config) {
  rtrain::seed_everything(1);
  const auto kill = config.value<std::string>("kill", "never");
  const auto folder = rtrain::get_context().get_trial_dir() / "best";
  const auto stopping = std::make_shared<rtrain::EarlyStopping>(
      rtrain::EarlyStoppingOptions{.monitor = "val_loss", .patience = 2});
  const auto best = std::make_shared<rtrain::ModelCheckpoint>(
      rtrain::ModelCheckpointOptions{.dirpath = folder,
                                     .filename = "{epoch}-{val_loss:.0f}",
                                     .monitor = "val_loss",
                                     .save_top_k = 2,
                                     .save_last = true});
  std::vector<rtrain::AnyCallback> callbacks;
  if (kill == "before") callbacks.push_back(Killer(1));
  callbacks.push_back(rtrain::TrainReportCallback());  // in any order: their turns are fixed
  callbacks.push_back(best);
  callbacks.push_back(stopping);
  if (kill == "after") callbacks.push_back(Killer(0));
  Scored net;
  const rtrain::DataLoader data(rtrain::data::TensorDataset(torch::randn({16, 4})),
                                {.batch_size = 4, .shuffle = true});
  rtrain::Trainer trainer(
      {.max_epochs = 12, .strategy = config.value("strategy", "ddp"), .callbacks = callbacks, .seed = 1});
  trainer.fit(net, data, data, rtrain::get_checkpoint());
  double digest = 0;
  rtrain::full_parameters(net, [&] {
    for (const auto& p : net.parameters()) digest += p.to(torch::kDouble).abs().sum().item<double>();
  });
  return {{"epochs", trainer.current_epoch()},
          {"steps", trainer.global_step()},
          {"stopped_epoch", stopping->stopped_epoch()},
          {"waited", stopping->wait_count()},
          {"best", best->best_model_path().filename().string()},
          {"files", names_in(folder)},
          {"digest", digest}};
}

/// Ranks whose monitored metric is their own: rank 0 has 3, 2, 1 and rank 1 has 1, 2, 3.
nlohmann::json unsynced(const Config&) {
  struct Own : Scored {
    torch::Tensor validation_step(const rtrain::Batch&, std::int64_t) override {
      log("m", rank() == 0 ? 3.0 - static_cast<double>(current_epoch())
                           : 1.0 + static_cast<double>(current_epoch()));
      return {};
    }
  } net;
  const auto folder = rtrain::get_context().get_trial_dir() / "best";
  const auto best = std::make_shared<rtrain::ModelCheckpoint>(
      rtrain::ModelCheckpointOptions{.dirpath = folder, .filename = "best-{m:.0f}", .monitor = "m"});
  const auto stopping =
      std::make_shared<rtrain::EarlyStopping>(rtrain::EarlyStoppingOptions{.monitor = "m", .patience = 1});
  const rtrain::DataLoader data(rtrain::data::TensorDataset(torch::randn({8, 4})), {.batch_size = 4});
  rtrain::Trainer trainer({.max_epochs = 3,
                           .num_sanity_val_steps = 0,
                           .strategy = rtrain::DDPStrategy(),
                           .callbacks = {best, stopping}});
  trainer.fit(net, data, data);
  // Both ranks know the same.
  auto known = torch::tensor({static_cast<double>(best->best_model_path().filename() == "best-m=1.ckpt"),
                              *best->best_model_score(), static_cast<double>(stopping->wait_count())});
  rtrain::process_group().all_reduce(known);
  return {{"files", names_in(folder)},
          {"sum", {known[0].item<double>(), known[1].item<double>(), known[2].item<double>()}},
          {"epochs", trainer.current_epoch()}};
}

/// The samples in the order in which this rank sees them, by the loader's seed.
nlohmann::json order_of_data(const Config& config) {
  struct Seeing : Scored {
    nlohmann::json seen = nlohmann::json::array();
    rtrain::StepOutput training_step(const rtrain::Batch& batch, std::int64_t i) override {
      for (std::int64_t k = 0; k < batch.size(); ++k) seen.push_back(batch.input[k][0].item<int>());
      return Scored::training_step(batch, i);
    }
  } net;
  auto input = torch::zeros({16, 4});
  input.select(1, 0).copy_(torch::arange(16));
  rtrain::DataLoaderOptions options{
      .batch_size = 4, .shuffle = true, .seed = config.at<std::uint64_t>("seed")};
  if (config.value("own_sampler", false))
    options = {.batch_size = 4,
               .sampler = std::make_shared<rtrain::RandomSampler>(16, config.at<std::uint64_t>("seed"))};
  rtrain::Trainer trainer(
      {.max_epochs = 1, .strategy = rtrain::DDPStrategy(), .enable_checkpointing = false, .seed = 77});
  trainer.fit(net, rtrain::DataLoader(rtrain::data::TensorDataset(input), options));
  rtrain::DistributedSampler expected(16, {.seed = config.at<std::uint64_t>("seed")});
  return {{"seen", net.seen}, {"expected", expected.indices()}};
}

/// config "throw": what rank 1 throws in training_step at epoch 1, batch 2.
void throws_in_a_step(const Config& config) {
  struct Throws : Scored {
    std::string how;
    rtrain::StepOutput training_step(const rtrain::Batch& batch, std::int64_t i) override {
      if (rank() == 1 && current_epoch() == 1 && i == 2) {
        if (how == "int") throw 42;
        if (how == "shape") return layer(torch::ones({3, 3})).sum();
        throw std::runtime_error("the step is broken");
      }
      return Scored::training_step(batch, i);
    }
  } net;
  net.how = config.at<std::string>("throw");
  rtrain::Trainer trainer(
      {.max_epochs = 2, .strategy = rtrain::DDPStrategy(), .enable_checkpointing = false, .seed = 5});
  trainer.fit(net, rtrain::DataLoader(rtrain::data::TensorDataset(torch::randn({32, 4})), {.batch_size = 4}));
}

/// Rank 1 never comes to the sum.
void hang(const Config& config) {
  auto tensor = torch::ones({8});
  for (std::int64_t step = 0; step < config.value<std::int64_t>("good_steps", 0); ++step) {
    rtrain::process_group().all_reduce(tensor);
    rtrain::report({{"step", step}});
  }
  while (rank() == 1) pause(1000);
  rtrain::process_group().all_reduce(tensor);
}

/// The last rank sums another tensor than the others: of other shape, type or by another operation.
void differs(const Config& config) {
  auto tensor = torch::ones({8});
  rtrain::process_group().all_reduce(tensor);
  const bool odd = rank() + 1 == rtrain::process_group().world_size();
  const auto how = config.at<std::string>("how");
  if (odd && how == "shape") tensor = torch::ones({1 << 20});
  if (odd && how == "type") tensor = torch::ones({8}, torch::kDouble);
  if (odd && how == "operation")
    rtrain::process_group().broadcast(tensor);
  else
    rtrain::process_group().all_reduce(tensor);
  rtrain::process_group().barrier();
}

/// Rank 1 does not come out of its third step.
void stuck_in_a_step(const Config& config) {
  struct Stuck : Scored {
    rtrain::StepOutput training_step(const rtrain::Batch& batch, std::int64_t i) override {
      while (rank() == 1 && i == 2) pause(1000);
      return Scored::training_step(batch, i);
    }
  } net;
  rtrain::Trainer trainer({.max_epochs = 1,
                           .strategy = config.at<std::string>("strategy"),
                           .enable_checkpointing = false,
                           .seed = 5});
  trainer.fit(net, rtrain::DataLoader(rtrain::data::TensorDataset(torch::randn({64, 4})), {.batch_size = 4}));
}

void sleep_for_ever(const Config&) {
  for (;;) pause(1000);
}

/// As fast as it can: how long the longest report() took, and how many there were.
nlohmann::json flood(const Config& config) {
  const std::string text(config.value<std::size_t>("bytes", 10'000), 'x');
  double longest_ms = 0;
  std::int64_t reports = 0;
  for (; reports < config.at<std::int64_t>("reports"); ++reports) {
    const auto begun = Clock::now();
    rtrain::report({{"i", reports}, {"text", text}});
    longest_ms =
        std::max(longest_ms, std::chrono::duration<double, std::milli>(Clock::now() - begun).count());
  }
  rtrain::report({{"i", reports}, {"longest_ms", longest_ms}}, folder_with("end"));
  std::ofstream(config.at<std::string>("done_file")) << longest_ms;
  return {{"longest_ms", longest_ms}, {"reports", reports + 1}};
}

}  // namespace

RTRAIN_TRAIN_FUNCTION(plain_loop);
RTRAIN_TRAIN_FUNCTION(with_trainer);
RTRAIN_TRAIN_FUNCTION(stops_early);
RTRAIN_TRAIN_FUNCTION(unsynced);
RTRAIN_TRAIN_FUNCTION(order_of_data);
RTRAIN_TRAIN_FUNCTION(throws_in_a_step);
RTRAIN_TRAIN_FUNCTION(hang);
RTRAIN_TRAIN_FUNCTION(differs);
RTRAIN_TRAIN_FUNCTION(stuck_in_a_step);
RTRAIN_TRAIN_FUNCTION(sleep_for_ever);
RTRAIN_TRAIN_FUNCTION(flood);
