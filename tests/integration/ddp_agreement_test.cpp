// Ranks that do not make the same calls find out at once, and the error names them.
#include "tests/support/ranks.h"

#include <cmath>
#include <map>
#include <sstream>

using namespace rtrain;
using rtrain::test::Folder;
using rtrain::test::kBothEnded;
using rtrain::test::quiet;
using rtrain::test::run_ranks;

namespace {

/// One linear layer; a test says what else happens in a step.
struct Net : test::BoringModel {
  std::function<void(Net&, int rank, std::int64_t batch)> in_step;
  std::function<bool(int rank, std::int64_t batch)> has_no_loss;
  StepOutput training_step(const Batch& batch, std::int64_t i) override {
    if (in_step) in_step(*this, trainer().global_rank(), i);
    if (has_no_loss && has_no_loss(trainer().global_rank(), i)) return {};
    return loss_of(batch);
  }
};

DataLoader samples(std::int64_t count = 24) {
  torch::manual_seed(4);
  return {data::TensorDataset(torch::randn({count, 32})), {.batch_size = 3, .num_workers = 0}};
}

std::vector<std::string> failures_of(const std::function<void(Net&)>& prepare,
                                     TrainerOptions options = {.max_epochs = 2}) {
  std::vector<std::string> failures;
  const auto codes = run_ranks(
      2,
      [&](int) {
        Net net;
        prepare(net);
        auto own = options;
        own.strategy = "ddp";
        Trainer trainer(quiet(std::move(own)));
        trainer.fit(net, samples());
      },
      &failures);
  CHECK(codes == std::vector<int>{3, 3});
  return failures;
}

}  // namespace

TEST_CASE("agreement: synced metrics are reduced by name, whatever the order of log()",
          "[integration][ddp][F10]") {
  const Folder folder;
  REQUIRE(run_ranks(2, [&](int rank) {
            Net net;
            net.in_step = [](Net& m, int own, std::int64_t) {
              const auto log = [&](const char* name, double value) {
                m.log(name, value + own, {.on_step = true, .on_epoch = true, .sync_dist = true});
                m.log(std::string(name) + "_most", torch::tensor(value + own),
                      {.on_step = true, .on_epoch = true, .reduce_fx = ReduceFx::kMax, .sync_dist = true});
              };
              if (own == 0) log("a", 10);
              log("b", 100);
              if (own == 1) log("a", 10);
            };
            std::vector<Metrics> at_batch_end;
            Trainer trainer(
                quiet({.max_epochs = 1,
                       .strategy = "ddp",
                       .callbacks = {LambdaCallback(
                           {.on_train_batch_end = [&](Trainer& t, LightningModule&, const StepOutput&,
                                                      const Batch&, std::int64_t) {
                             at_batch_end.push_back(t.callback_metrics());
                           }})}}));
            trainer.fit(net, samples());
            at_batch_end.push_back(trainer.callback_metrics());
            std::ofstream(folder / std::to_string(rank)) << nlohmann::json(at_batch_end).dump();
          }) == kBothEnded);
  for (const std::string rank : {"0", "1"}) {
    std::ifstream in(folder / rank);
    const auto seen = nlohmann::json::parse(in).get<std::vector<Metrics>>();
    REQUIRE(seen.size() == 5);
    for (const auto& metrics : seen) {
      CHECK(metrics.at("a_step") == 10.5);
      CHECK(metrics.at("b_step") == 100.5);
      CHECK(metrics.at("a_most_step") == 11);
      CHECK(metrics.at("b_most_step") == 101);
    }
    CHECK(seen.back().at("a_epoch") == 10.5);
    CHECK(seen.back().at("b_epoch") == 100.5);
    CHECK(seen.back().at("a_most_epoch") == 11);
  }
}

TEST_CASE("agreement: more synced metrics than a row holds", "[integration][ddp][F10]") {
  REQUIRE(run_ranks(2, [&](int) {
            Net net;
            net.in_step = [](Net& m, int own, std::int64_t batch) {
              for (int i = 0; i < (batch == 0 ? 3 : 40); ++i)
                m.log("m" + std::to_string(i), i + own,
                      {.on_step = true, .on_epoch = true, .sync_dist = true});
            };
            Trainer trainer(quiet({.max_epochs = 1, .strategy = "ddp"}));
            trainer.fit(net, samples());
            const auto metrics = trainer.callback_metrics();
            for (int i = 0; i < 40; ++i) {
              for (const char* kind : {"_step", "_epoch"}) {
                if (metrics.at("m" + std::to_string(i) + kind) != i + 0.5)
                  throw std::runtime_error("m" + std::to_string(i) + kind);
              }
            }
          }) == kBothEnded);
}

TEST_CASE("agreement: a synced metric that one rank lacks is an error with names and ranks",
          "[integration][ddp][F10]") {
  const LogOptions each{.on_step = false, .on_epoch = true, .sync_dist = true};
  SECTION("on_epoch") {
    for (const auto& text : failures_of([&](Net& net) {
           net.in_step = [=](Net& m, int rank, std::int64_t) {
             m.log("a", 1.0, each);
             if (rank == 1) m.log("b", 2.0, each);
           };
         })) {
      CHECK_THAT(text, Catch::Contains("a in training_step (mean) on rank 0; a in training_step (mean), b in "
                                       "training_step (mean) on rank 1"));
    }
  }
  SECTION("all of them") {
    for (const auto& text : failures_of([&](Net& net) {
           net.in_step = [=](Net& m, int rank, std::int64_t) {
             if (rank == 1) m.log("b", 2.0, each);
           };
         })) {
      CHECK_THAT(text, Catch::Contains("none on rank 0; b in training_step (mean) on rank 1"));
    }
  }
  SECTION("another reduction") {
    for (const auto& text : failures_of([&](Net& net) {
           net.in_step = [](Net& m, int rank, std::int64_t) {
             m.log("a", 1.0,
                   {.on_step = false,
                    .on_epoch = true,
                    .reduce_fx = rank == 0 ? ReduceFx::kMean : ReduceFx::kSum,
                    .sync_dist = true});
           };
         })) {
      CHECK_THAT(text,
                 Catch::Contains("a in training_step (mean) on rank 0; a in training_step (sum) on rank 1"));
    }
  }
  SECTION("on_step, of a set that was the same before") {
    for (const auto& text : failures_of([&](Net& net) {
           net.in_step = [](Net& m, int rank, std::int64_t batch) {
             m.log(batch < 2 || rank == 0 ? "a" : "b", 1.0, {.sync_dist = true});
           };
         })) {
      CHECK_THAT(text,
                 Catch::Contains("a in training_step (mean) on rank 0; b in training_step (mean) on rank 1"));
    }
  }
  SECTION("on_step, none before") {
    const auto failures = failures_of([&](Net& net) {
      net.in_step = [](Net& m, int rank, std::int64_t batch) {
        if (batch == 2 && rank == 1) m.log("b", 1.0, {.sync_dist = true});
      };
    });
    CHECK_THAT(failures[1], Catch::Contains("all_gather") &&
                                Catch::Contains("rank 0 is in all_reduce of gradients") &&
                                Catch::Contains("b in training_step"));
  }
}

TEST_CASE("agreement: on_epoch without sync_dist on several ranks warns once a metric",
          "[integration][ddp]") {
  REQUIRE(run_ranks(2, [](int) {
            std::ostringstream said;
            auto* before = std::cerr.rdbuf(said.rdbuf());
            Net net;
            net.in_step = [](Net& m, int, std::int64_t) {
              m.log("own", 1.0, {.on_step = true, .on_epoch = true});
              m.log("step_only", 1.0);
              m.log("synced", 1.0, {.on_epoch = true, .sync_dist = true});
              m.log("first", 1.0, {.on_epoch = true, .rank_zero_only = true});
            };
            Trainer trainer(quiet({.max_epochs = 2, .strategy = "ddp"}));
            trainer.fit(net, samples());
            std::cerr.rdbuf(before);
            const auto text = said.str();
            const auto at = text.find("on_epoch without sync_dist");
            if (at == std::string::npos || at != text.rfind("on_epoch without sync_dist") ||
                text.find("log(\"own\")") == std::string::npos)
              throw std::runtime_error(text);
          }) == kBothEnded);
}

TEST_CASE("agreement: a rank whose training_step returns no loss says which ranks have one",
          "[integration][ddp][F15]") {
  const auto failures = failures_of([](Net& net) {
    net.has_no_loss = [](int rank, std::int64_t batch) { return rank == 1 && batch == 2; };
  });
  CHECK_THAT(failures[1], Catch::Contains("rank 1 of 2 is in batch 2 without a loss (training_step returned "
                                          "none), but rank 0 is in all_reduce of gradients"));
}

TEST_CASE("agreement: a rank may lack the loss of a batch that is not the last of an accumulation",
          "[integration][ddp][F15][F18]") {
  const Folder folder;
  REQUIRE(run_ranks(2, [&](int rank) {
            torch::manual_seed(1);
            Net net;
            // Window 1: rank 1 lacks its first. Window 2: rank 0 has one loss, and none comes last.
            net.has_no_loss = [](int own, std::int64_t batch) {
              return (own == 1 && batch == 0) || (batch >= 2 && !(own == 0 && batch == 2));
            };
            Trainer trainer(quiet({.max_epochs = 2, .accumulate_grad_batches = 2, .strategy = "ddp"}));
            trainer.fit(net, samples());
            save_safetensors(folder / std::to_string(rank), {{{"weight", net.layer->weight.detach()}}, {}});
          }) == kBothEnded);
  CHECK(torch::equal(load_safetensors(folder / "0").tensors.at("weight"),
                     load_safetensors(folder / "1").tensors.at("weight")));
}

TEST_CASE("agreement: ranks with different numbers of batches are told at the start",
          "[integration][ddp][F36]") {
  std::vector<std::string> failures;
  const auto codes = run_ranks(
      2,
      [&](int rank) {
        Net net;
        Trainer trainer(quiet({.max_epochs = 1, .strategy = "ddp", .use_distributed_sampler = false}));
        trainer.fit(net, samples(rank == 0 ? 15 : 12));
      },
      &failures);
  CHECK(codes == std::vector<int>{3, 3});
  for (const auto& text : failures) CHECK_THAT(text, Catch::Contains("5 on rank 0; 4 on rank 1"));
}

TEST_CASE("agreement: save_checkpoint, a stop or the rest of an epoch on one rank only",
          "[integration][ddp][F36]") {
  const Folder folder;
  SECTION("save_checkpoint") {
    const auto failures = failures_of([&](Net& net) {
      net.in_step = [&](Net& m, int rank, std::int64_t batch) {
        if (rank == 0 && batch == 1) m.trainer().save_checkpoint(folder / "c");
      };
    });
    CHECK_THAT(
        failures[0],
        Catch::Contains("rank 0 of 2 is in save_checkpoint(), but rank 1 is in all_reduce of gradients"));
  }
  SECTION("should_stop") {
    const auto failures = failures_of([&](Net& net) {
      net.in_step = [&](Net& m, int rank, std::int64_t batch) {
        if (rank == 1 && batch == 1) m.trainer().set_should_stop();
      };
    });
    CHECK_THAT(failures[1],
               Catch::Contains(
                   "rank 1 of 2 is in a stop (set_should_stop), but rank 0 is in all_reduce of gradients"));
  }
  SECTION("the rest of an epoch") {
    struct Skips : Net {
      int on_train_batch_start(const Batch&, std::int64_t batch) override {
        return trainer().global_rank() == 1 && batch == 2 ? -1 : 0;
      }
    };
    std::vector<std::string> failures;
    const auto codes = run_ranks(
        2,
        [&](int) {
          Skips net;
          Trainer trainer(quiet({.max_epochs = 2, .strategy = "ddp"}));
          trainer.fit(net, samples());
        },
        &failures);
    CHECK(codes == std::vector<int>{3, 3});
    CHECK_THAT(failures[1], Catch::Contains("on_train_batch_start returned -1") &&
                                Catch::Contains("rank 0 is in all_reduce of gradients"));
  }
}

TEST_CASE("agreement: all ranks that stop, skip or save together go on", "[integration][ddp][F36]") {
  struct Together : Net {
    std::int64_t batches = 0;
    int on_train_batch_start(const Batch&, std::int64_t batch) override {
      return current_epoch() == 0 && batch == 2 ? -1 : (++batches, 0);
    }
  };
  const Folder folder;
  REQUIRE(run_ranks(2, [&](int) {
            Together net;
            net.in_step = [&](Net& m, int, std::int64_t batch) {
              if (batch == 1) m.trainer().save_checkpoint(folder / "c");
              if (m.current_epoch() == 2 && batch == 1) m.trainer().set_should_stop();
            };
            Trainer trainer(quiet({.max_epochs = 9, .strategy = "ddp"}));
            trainer.fit(net, samples());
            if (net.batches != 2 + 4 + 2) throw std::runtime_error(std::to_string(net.batches) + " batches");
          }) == kBothEnded);
}

TEST_CASE("agreement: one layer in two places of the model trains the same on two ranks",
          "[integration][ddp][F06]") {
  struct Shared : LightningModule {
    torch::nn::Linear fc = torch::nn::Linear(32, 32);
    torch::nn::Sequential net = register_module("net", torch::nn::Sequential(fc, torch::nn::Tanh(), fc));
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      return net->forward(batch.input).square().mean();
    }
    Optimizers configure_optimizers() override {
      return optim::SGD(parameters(), {.lr = 0.1, .momentum = 0.9});
    }
  };
  const Folder folder;
  REQUIRE(run_ranks(2, [&](int rank) {
            torch::manual_seed(static_cast<std::uint64_t>(rank));
            Shared net;
            Trainer trainer(quiet({.max_epochs = 1, .gradient_clip_val = 0.01, .strategy = "ddp"}));
            trainer.fit(net, samples());
            save_safetensors(folder / std::to_string(rank), {{{"weight", net.fc->weight.detach()}}, {}});
          }) == kBothEnded);
  CHECK(torch::equal(load_safetensors(folder / "0").tensors.at("weight"),
                     load_safetensors(folder / "1").tensors.at("weight")));
}

TEST_CASE("agreement: ranks whose streams differ in length end an epoch together", "[integration][ddp]") {
  /// Rank r has r + 2 batches of 3, its last one incomplete.
  struct Rows : IterableDataset<torch::Tensor> {
    struct Reading : Stream<torch::Tensor> {
      explicit Reading(std::int64_t rows) : left(rows) {}
      std::optional<torch::Tensor> next() override {
        return left-- > 0 ? std::optional(torch::full({32}, 0.1)) : std::nullopt;
      }
      std::int64_t left;
    };
    [[nodiscard]] std::unique_ptr<Stream<torch::Tensor>> open(const Shard& shard,
                                                              std::int64_t) const override {
      TORCH_CHECK(shard.ranks == 2);
      return std::make_unique<Reading>(3 * shard.rank + 5);
    }
  };
  const Folder folder;
  REQUIRE(run_ranks(2, [&](int) {
            test::Heard heard;
            Net net;
            std::int64_t batches = 0;
            net.in_step = [&](Net&, int, std::int64_t) { ++batches; };
            Trainer trainer(quiet({.max_epochs = 2, .strategy = "ddp"}));
            trainer.fit(net, DataLoader(std::make_shared<Rows>(), {.batch_size = 3}));
            TORCH_CHECK(batches == 4, batches);
            TORCH_CHECK(trainer.current_epoch() == 2);
            const auto text = heard.text();
            TORCH_CHECK(text.find("Epoch 0 ends after 2 batches on all ranks") != std::string::npos, text);
            TORCH_CHECK(text.find("ended on rank 0; more to come on rank 1") != std::string::npos, text);
            TORCH_CHECK(text.find("Epoch 1 ends") == std::string::npos, text);
          }) == kBothEnded);
}

TEST_CASE("agreement: a rank whose stream has ended reads it again until the last one has",
          "[integration][ddp]") {
  /// Rank 0 has two batches, rank 1 five.
  struct Rows : IterableDataset<torch::Tensor> {
    struct Reading : Stream<torch::Tensor> {
      Reading(std::int64_t first, std::int64_t count) : at(first), end(first + count) {}
      std::optional<torch::Tensor> next() override {
        return at < end ? std::optional(torch::full({32}, static_cast<double>(at++) / 100)) : std::nullopt;
      }
      std::int64_t at, end;
    };
    [[nodiscard]] std::unique_ptr<Stream<torch::Tensor>> open(const Shard& shard,
                                                              std::int64_t) const override {
      return std::make_unique<Reading>(100 * shard.rank, shard.rank == 0 ? 5 : 14);
    }
  };
  const Folder folder;
  /// @return what this rank saw, "<rows>:<first row>" a batch
  const auto fit = [&](const std::string& weights, const std::filesystem::path& save,
                       const CheckpointPath& from) {
    torch::manual_seed(3);
    Net net;
    std::string seen;
    const auto at_start = [&](Trainer&, LightningModule&, const Batch& batch, std::int64_t) {
      seen += std::to_string(batch.input.size(0)) + ":" +
              std::to_string(std::lround(batch.input[0][0].item<double>() * 100)) + " ";
    };
    const auto at_end = [&](Trainer& trainer, LightningModule&, const StepOutput&, const Batch&,
                            std::int64_t) {
      if (!save.empty() && trainer.global_step() == 3) trainer.save_checkpoint(save);
    };
    Trainer trainer(quiet(
        {.max_epochs = 2,
         .strategy = "ddp",
         .callbacks = {LambdaCallback({.on_train_batch_start = at_start, .on_train_batch_end = at_end})}}));
    trainer.fit(net, DataLoader(std::make_shared<Rows>(), {.batch_size = 3, .stream_end = StreamEnd::kPad}),
                {}, from);
    TORCH_CHECK(trainer.current_epoch() == 2);
    std::map<std::string, torch::Tensor> tensors;
    for (const auto& item : net.named_parameters()) tensors[item.key()] = item.value().detach();
    save_safetensors(folder / (weights + std::to_string(trainer.global_rank())), {tensors, {}});
    return seen;
  };
  REQUIRE(run_ranks(2, [&](int rank) {
            const std::string epoch = rank == 0 ? "3:0 2:3 3:0 2:3 3:0 " : "3:100 3:103 3:106 3:109 2:112 ";
            const auto seen = fit("whole", folder / "at3", {});
            TORCH_CHECK(seen == epoch + epoch, seen);
            const auto rest = fit("resumed", {}, folder / "at3");
            TORCH_CHECK(rest == (epoch + epoch).substr(rank == 0 ? 12 : 18), rest);
          }) == kBothEnded);
  CHECK(load_safetensors(folder / "whole0").tensors.size() > 0);
  for (const auto& [name, tensor] : load_safetensors(folder / "whole0").tensors)
    for (const auto* other : {"whole1", "resumed0", "resumed1"})
      CHECK(torch::equal(tensor, load_safetensors(folder / other).tensors.at(name)));
}
