// A Trainer over streams: how an epoch ends, limits, and resuming.
#include "tests/support/catch.h"
#include "tests/support/state.h"
#include "tests/support/training.h"

#include <string>
#include <vector>

namespace stream_test {

using namespace rtrain;
using Catch::Matchers::Contains;
using rtrain::test::quiet;
using rtrain::test::same_bits;
using rtrain::test::state_of;

namespace {

/// Rows of 32 numbers; sample i of rank r is i + 100 r everywhere.
struct Rows : IterableDataset<torch::Tensor> {
  explicit Rows(std::vector<std::int64_t> of_ranks, bool with_state = false)
      : lengths(std::move(of_ranks)), states(with_state) {}
  std::vector<std::int64_t> lengths;
  bool states;
  std::optional<std::int64_t> length{};
  struct Reading : Stream<torch::Tensor> {
    Reading(std::int64_t from, std::int64_t to, std::int64_t by, bool with_state)
        : at(from), end(to), step(by), states(with_state) {}
    std::optional<torch::Tensor> next() override {
      if (at >= end) return std::nullopt;
      auto row = torch::full({32}, static_cast<double>(at) / 100);
      at += step;
      return row;
    }
    [[nodiscard]] nlohmann::json save_state() const override {
      return states ? nlohmann::json(at) : nlohmann::json();
    }
    void load_state(const nlohmann::json& state) override { at = state.get<std::int64_t>(); }
    std::int64_t at, end, step;
    bool states;
  };
  [[nodiscard]] std::unique_ptr<Stream<torch::Tensor>> open(const Shard& shard,
                                                            std::int64_t epoch) const override {
    const auto begin = 100 * shard.rank + 1000 * epoch;
    return std::make_unique<Reading>(begin + shard.worker,
                                     begin + lengths[static_cast<std::size_t>(shard.rank) % lengths.size()],
                                     shard.workers, states);
  }
  [[nodiscard]] std::optional<std::int64_t> size() const override { return length; }
};

DataLoader rows(std::int64_t samples, int workers = 1, bool with_state = false) {
  return {std::make_shared<Rows>(std::vector<std::int64_t>{samples}, with_state),
          {.batch_size = 4, .num_workers = workers}};
}

/// The batches of each epoch, and after which of them there was a validation.
struct Log {
  std::vector<std::string> events;
  LambdaCallback callback() {
    return LambdaCallback(
        {.on_train_batch_end =
             [this](Trainer&, LightningModule&, const StepOutput&, const Batch& batch, std::int64_t i) {
               events.push_back(std::to_string(i) + ":" + std::to_string(batch.size()));
             },
         .on_validation_end = [this](Trainer&, LightningModule&) { events.emplace_back("val"); },
         .on_train_epoch_end = [this](Trainer&, LightningModule&) { events.emplace_back("end"); }});
  }
};

std::vector<std::string> fit(TrainerOptions options, const DataLoader& train, const DataLoader& val = {}) {
  Log log;
  options.callbacks.push_back(log.callback());
  options.num_sanity_val_steps = 0;
  Trainer trainer(quiet(options));
  test::BoringModel model;
  trainer.fit(model, train, val);
  return log.events;
}

}  // namespace

TEST_CASE("streams: an epoch ends with its stream", "[unit][trainer]") {
  using Events = std::vector<std::string>;
  const auto val = test::boring_loader(2);
  CHECK(fit({.max_epochs = 2}, rows(10), val) ==
        Events{"0:4", "1:4", "2:2", "val", "end", "0:4", "1:4", "2:2", "val", "end"});
  CHECK(fit({.max_epochs = 1, .limit_train_batches = 2}, rows(1000), val) ==
        Events{"0:4", "1:4", "val", "end"});
  CHECK(fit({.max_epochs = 1, .val_check_interval = 2}, rows(13), val) ==
        Events{"0:4", "1:4", "val", "2:4", "3:1", "val", "end"});
  CHECK(fit({.max_steps = 3}, rows(8)) == Events{"0:4", "1:4", "end", "0:4", "end"});
}

TEST_CASE("streams: an accumulation ends with the stream", "[unit][trainer]") {
  std::int64_t steps = 0;
  Trainer trainer(quiet({.max_epochs = 1, .accumulate_grad_batches = 2}));
  test::BoringModel model;
  trainer.fit(model, rows(18));  // five batches
  steps = trainer.global_step();
  CHECK(steps == 3);
}

TEST_CASE("streams: fractions need a length", "[unit][trainer]") {
  CHECK_THROWS_WITH(fit({.max_epochs = 1, .limit_train_batches = 0.5}, rows(10)),
                    Contains("limit_train_batches is 0.5 of a stream whose length is not known"));
  CHECK_THROWS_WITH(fit({.max_epochs = 1, .val_check_interval = 0.5}, rows(10), test::boring_loader(2)),
                    Contains("val_check_interval is 0.5 of a stream"));
  const auto set = std::make_shared<Rows>(std::vector<std::int64_t>{40});
  set->length = 40;
  CHECK(fit({.max_epochs = 1, .limit_train_batches = 0.3}, DataLoader(set, {.batch_size = 4})).size() == 4);
  CHECK_THROWS_WITH(fit({.max_epochs = 1}, rows(0)), Contains("gives no batch in epoch 0"));
}

TEST_CASE("streams: evaluation and prediction read a stream to its end", "[unit][trainer]") {
  Trainer trainer(quiet({.max_epochs = 1}));
  test::BoringModel model;
  std::int64_t seen = 0;
  for (const auto& output : trainer.predict(model, rows(10, 2))) seen += output.size(0);
  CHECK(seen == 10);
  Log log;
  Trainer fits(quiet({.max_epochs = 1, .num_sanity_val_steps = 2, .callbacks = {log.callback()}}));
  fits.fit(model, rows(4), rows(10));
  CHECK(fits.num_val_batches() == kUnknownBatches);
}

TEST_CASE("streams: from any step, the parameters are those of the run that never ended", "[unit][trainer]") {
  for (const bool with_state : {false, true}) {
    for (const int workers : {0, 1, 3}) {
      const auto run = [&](std::uint64_t seed, const CheckpointPath& from, const std::filesystem::path& to,
                           bool at_start, std::int64_t step) {
        torch::manual_seed(seed);
        test::BoringModel model;
        const auto save = [&](Trainer& trainer, bool start) {
          if (!to.empty() && trainer.global_step() == step && start == at_start) trainer.save_checkpoint(to);
        };
        Trainer trainer(
            quiet({.max_epochs = 2,
                   .callbacks = {LambdaCallback(
                       {.on_train_batch_start = [&](Trainer& t, LightningModule&, const Batch&,
                                                    std::int64_t) { save(t, true); },
                        .on_train_batch_end = [&](Trainer& t, LightningModule&, const StepOutput&,
                                                  const Batch&, std::int64_t) { save(t, false); }})}}));
        trainer.fit(model, rows(23, workers, with_state), {}, from);
        return state_of(model);
      };
      const auto whole = run(1, {}, {}, false, 0);
      for (const bool at_start : {false, true}) {
        for (const std::int64_t step : {1, 3, 5, 6, 8}) {
          INFO("state " << with_state << " workers " << workers << " step " << step << " start " << at_start);
          const test::Folder folder;
          (void)run(1, {}, folder / "c", at_start, step);
          CHECK(same_bits(whole, run(9, folder / "c", {}, false, 0)));
        }
      }
    }
  }
}

}  // namespace stream_test
