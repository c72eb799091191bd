// Checkpoints of ranks that shard a model: written beside the training, and read by each rank as far as it
// needs them.
#include "tests/support/checksums.h"
#include "tests/support/sharded_runs.h"
#include "tests/support/small_language.h"
#include "tests/support/state.h"

#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <set>
#include <thread>

using namespace rtrain;
using Catch::Matchers::Contains;
using rtrain::test::blocks;
using rtrain::test::Folder;
using rtrain::test::kBothEnded;
using rtrain::test::Language;
using rtrain::test::quiet;
using rtrain::test::run_ranks;
using rtrain::test::samples;
namespace fs = std::filesystem;

namespace {

DataLoader loader() { return {samples(), {.batch_size = 4, .shuffle = true}}; }

std::set<std::string> checkpoints_in(const fs::path& folder) {
  std::set<std::string> found;
  std::error_code missing;
  for (const auto& entry : fs::directory_iterator(folder, missing)) {
    const auto name = entry.path().filename().string();
    if (name.front() != '.' && !entry.is_symlink()) found.insert(name);
  }
  return found;
}

void train(const fs::path& folder, std::vector<AnyPlugin> plugins, std::int64_t epochs,
           const std::vector<std::shared_ptr<Callback>>& more = {}) {
  torch::manual_seed(100);
  Language net;
  TrainerOptions options{.max_epochs = epochs, .strategy = FSDPStrategy(blocks())};
  options.plugins = std::move(plugins);
  options.callbacks.push_back(EMAWeightAveraging({.decay = 0.8}));
  options.callbacks.push_back(
      ModelCheckpoint({.dirpath = folder, .save_top_k = -1, .every_n_train_steps = 1}));
  for (const auto& callback : more) options.callbacks.push_back(callback);
  Trainer trainer(quiet(std::move(options)));
  trainer.fit(net, loader(), loader());
}

/// Counts what is read of each file.
class CountingIO final : public LocalCheckpointIO {
 public:
  using Counts = std::map<std::string, std::uint64_t>;
  explicit CountingIO(std::shared_ptr<Counts> read) : read_(std::move(read)) {}
  std::unique_ptr<CheckpointFolder> open(const fs::path& path) override {
    auto folder = LocalCheckpointIO::open(path);
    if (!folder) return nullptr;
    return std::make_unique<Inside>(std::move(folder), read_);
  }

 private:
  struct File final : CheckpointFile {
    File(std::unique_ptr<CheckpointFile> file, std::shared_ptr<Counts> counts, std::string called)
        : inside(std::move(file)), read_bytes(std::move(counts)), name(std::move(called)) {}
    [[nodiscard]] std::uint64_t size() const override { return inside->size(); }
    void read(std::uint64_t at, void* into, std::size_t size) override {
      (*read_bytes)[name] += size;
      inside->read(at, into, size);
    }
    std::unique_ptr<CheckpointFile> inside;
    std::shared_ptr<Counts> read_bytes;
    std::string name;
  };
  struct Inside final : CheckpointFolder {
    Inside(std::unique_ptr<CheckpointFolder> folder, std::shared_ptr<Counts> counts)
        : inside(std::move(folder)), read_bytes(std::move(counts)) {}
    [[nodiscard]] std::unique_ptr<CheckpointFile> open(const std::string& name) const override {
      auto file = inside->open(name);
      if (!file) return nullptr;
      return std::make_unique<File>(std::move(file), read_bytes, name);
    }
    std::unique_ptr<CheckpointFolder> inside;
    std::shared_ptr<Counts> read_bytes;
  };
  std::shared_ptr<Counts> read_;
};

std::uint64_t header_bytes(const fs::path& file) {
  const auto text = test::text_of(file);
  std::uint64_t size = 0;
  std::memcpy(&size, text.data(), sizeof size);
  return sizeof size + size;
}

void expect(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

}  // namespace

TEST_CASE("sharded: asynchronous saves have the bytes of synchronous ones", "[integration][fsdp]") {
  const Folder folder;
  REQUIRE(run_ranks(2, [&](int) { train(folder / "sync", {}, 1); }) == kBothEnded);
  REQUIRE(run_ranks(2, [&](int) { train(folder / "async", {AsyncCheckpointIO()}, 1); }) == kBothEnded);
  const auto saved = checkpoints_in(folder / "sync");
  CHECK(saved.size() == 12);
  REQUIRE(checkpoints_in(folder / "async") == saved);
  for (const auto& name : saved) {
    INFO(name);
    CHECK(test::is_whole(folder / "async" / name));
    for (const std::string file : {"model.safetensors", "optimizer.safetensors", "extra.safetensors",
                                   "rng-rank0.safetensors", "rng-rank1.safetensors"}) {
      const auto bytes = test::text_of(folder / "sync" / name / file);
      CHECK(!bytes.empty());
      CHECK(test::text_of(folder / "async" / name / file) == bytes);
    }
  }
}

TEST_CASE("sharded: a rank that is killed during an asynchronous save leaves whole checkpoints only",
          "[integration][fsdp]") {
  for (int round = 0; round < 2; ++round) {
    const Folder folder;
    std::vector<std::string> failures;
    const auto codes = run_ranks(
        2,
        [&](int rank) {
          std::thread killer;
          const auto kill_later = std::make_shared<LambdaCallback>(
              LambdaFunctions{.on_train_batch_end = [&](Trainer& trainer, LightningModule&, const StepOutput&,
                                                        const Batch&, std::int64_t) {
                if (rank != round || killer.joinable() || trainer.global_step() < 5) return;
                killer = std::thread([round] {
                  std::this_thread::sleep_for(std::chrono::microseconds(1900 * round + 311));
                  ::kill(::getpid(), SIGKILL);
                });
              }});
          train(folder / "c", {AsyncCheckpointIO()}, 100000, {kill_later});
        },
        &failures);
    CHECK(codes.at(static_cast<std::size_t>(round)) == 128 + SIGKILL);
    CHECK(codes.at(static_cast<std::size_t>(1 - round)) == 3);  // the other one notices
    const auto left = checkpoints_in(folder / "c");
    CHECK(!left.empty());
    for (const auto& name : left) {
      INFO(name);
      CHECK(test::is_whole(folder / "c" / name));
    }
    Language net;
    Trainer trainer(quiet({}));
    CHECK_NOTHROW(trainer.validate(net, loader(), CheckpointPath(folder / "c" / *left.rbegin())));
  }
}

TEST_CASE("sharded: each rank reads its part of a checkpoint", "[integration][fsdp]") {
  const Folder folder;
  const auto fit = [&](const CheckpointPath& from, const std::shared_ptr<CountingIO::Counts>& read) {
    torch::manual_seed(100);
    Language net;
    TrainerOptions options{.max_epochs = 1, .strategy = FSDPStrategy(blocks())};
    options.plugins = {std::make_shared<CountingIO>(read)};
    Trainer trainer(quiet(std::move(options)));
    trainer.fit(net, loader(), {}, from);
    if (from.path().empty()) trainer.save_checkpoint(folder / "saved");
    std::uint64_t part = 0;
    for (const auto& [name, piece] : trainer.strategy().module_state(net)) part += piece.tensor.nbytes();
    return part;
  };
  REQUIRE(run_ranks(2, [&](int) { (void)fit({}, std::make_shared<CountingIO::Counts>()); }) == kBothEnded);
  const auto saved = folder / "saved";
  const auto model = saved / "model.safetensors", optimizer = saved / "optimizer.safetensors";
  for (const int world : {2, 3}) {
    INFO(world << " ranks");
    CHECK(run_ranks(world, [&](int) {
            const auto read = std::make_shared<CountingIO::Counts>();
            const auto part = fit(saved, read);
            expect(part * 3 < 2 * fs::file_size(model), "a part is not much of the whole");
            expect(read->at("model.safetensors") <= header_bytes(model) + part,
                   "the model: read " + std::to_string(read->at("model.safetensors")) + " for a part of " +
                       std::to_string(part));
            // Two averages an element; the steps are one number a parameter.
            constexpr std::uint64_t kSteps = 64 * 8;
            expect(read->at("optimizer.safetensors") <= header_bytes(optimizer) + 2 * part + kSteps,
                   "the optimizer: read " + std::to_string(read->at("optimizer.safetensors")) +
                       " for a part of " + std::to_string(part));
          }) == std::vector<int>(static_cast<std::size_t>(world), 0));
  }
  // Each rank finds the damage that only one of them has read.
  for (const double place : {0.25, 0.75}) {
    const auto bytes = test::text_of(model);
    const auto header = header_bytes(model);
    auto damaged = bytes;
    const auto at = header + static_cast<std::size_t>(static_cast<double>(bytes.size() - header) * place);
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    std::ofstream(model, std::ios::binary) << damaged;
    std::vector<std::string> failures;
    CHECK(run_ranks(
              2, [&](int) { (void)fit(saved, std::make_shared<CountingIO::Counts>()); }, &failures) ==
          std::vector<int>{3, 3});
    for (const auto& failure : failures) CHECK_THAT(failure, Contains("the file is damaged"));
    std::ofstream(model, std::ios::binary) << bytes;
  }
}

TEST_CASE("sharded: weights in several files are those of one", "[integration][fsdp]") {
  const Folder folder;
  const auto fit = [&](AnyStrategy strategy, const CheckpointPath& from, const std::string& to,
                       std::int64_t max_shard_size, std::vector<AnyPlugin> plugins = {}) {
    torch::manual_seed(100);
    Language net;
    TrainerOptions options{.max_epochs = 1, .strategy = std::move(strategy)};
    options.max_shard_size = max_shard_size;
    options.plugins = std::move(plugins);
    Trainer trainer(quiet(std::move(options)));
    trainer.fit(net, loader(), {}, from);
    trainer.save_checkpoint(folder / to);
  };
  constexpr std::int64_t kOne = 5'000'000'000, kFew = 20'000;
  const auto weights_of_files = [&](const std::string& name) {
    test::Tensors all;
    int files = 0;
    for (const auto& entry : fs::directory_iterator(folder / name))
      if (entry.path().filename().string().starts_with("model-")) {
        all.merge(load_safetensors(entry.path()).tensors);
        CHECK(fs::file_size(entry.path()) < kFew + 8000);  // the header is not counted
        ++files;
      }
    CHECK(files > 2);
    CHECK(fs::exists(folder / name / "model.safetensors.index.json"));
    CHECK(!fs::exists(folder / name / "model.safetensors"));
    CHECK(test::is_whole(folder / name));
    return all;
  };
  REQUIRE(run_ranks(2, [&](int) {
            fit(FSDPStrategy(blocks()), {}, "one", kOne);
            fit(FSDPStrategy(blocks()), {}, "several", kFew);
            fit(FSDPStrategy(blocks()), {}, "later", kFew, {AsyncCheckpointIO()});
          }) == kBothEnded);
  const auto whole = load_safetensors(folder / "one/model.safetensors").tensors;
  CHECK(test::same_bits(whole, weights_of_files("several")));
  CHECK(test::same_bits(whole, weights_of_files("later")));
  // Other numbers of ranks go on from it, and one process.
  REQUIRE(run_ranks(3, [&](int) { fit(FSDPStrategy(blocks()), folder / "several", "three", kOne); }) ==
          std::vector<int>{0, 0, 0});
  fit("single_device", folder / "several", "alone", kFew);
  CHECK(test::same_bits(whole, load_safetensors(folder / "three/model.safetensors").tensors));
  CHECK(test::same_bits(whole, weights_of_files("alone")));
  for (const auto& entry : fs::directory_iterator(folder / "several"))
    if (entry.path().filename().string().starts_with("model"))
      CHECK(test::text_of(entry.path()) == test::text_of(folder / "alone" / entry.path().filename()));
  Language read;
  CHECK(load_weights(read, folder / "several").missing.empty());
  CHECK(test::same_bits(whole, test::state_of(read)));
  CHECK(test::same_bits(whole, test::state_of(*load_from_checkpoint<Language>(folder / "several"))));
  Trainer trainer(quiet({}));
  CHECK_NOTHROW(trainer.validate(read, loader(), CheckpointPath(folder / "several")));
  // A file of them that is missing is named.
  for (const auto& entry : fs::directory_iterator(folder / "alone"))
    if (entry.path().filename().string().starts_with("model-00002-of-"))
      fs::remove(folder / "several" / entry.path().filename());
  CHECK_THROWS_WITH(trainer.validate(read, loader(), CheckpointPath(folder / "several")),
                    Contains("model-00002-of-"));
}
