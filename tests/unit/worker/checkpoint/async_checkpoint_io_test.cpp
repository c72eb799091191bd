#include "tests/support/catch.h"
#include "tests/support/memory_io.h"
#include "tests/support/memory_store.h"
#include "tests/support/state.h"
#include "tests/support/training.h"
#include "worker/checkpoint/save_agreement.h"
#include "worker/checkpoint/snapshot.h"

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace async_checkpoint_io_test {

using namespace rtrain;
using rtrain::test::boring_loader;
using rtrain::test::BoringModel;
using rtrain::test::Folder;
using rtrain::test::MemoryIO;
using rtrain::test::quiet;
using rtrain::test::same_bits;
using rtrain::test::state_of;

namespace {

/// Holds whoever comes until it is opened.
class Gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    ++here_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
  }
  /// Until somebody stands before it.
  void wait_for_one() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return here_ > 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int here_ = 0;
};

struct Asynchronous {
  std::shared_ptr<MemoryIO> stored = std::make_shared<MemoryIO>();
  std::shared_ptr<AsyncCheckpointIO> io;
  explicit Asynchronous(int waiting_max = 1)
      : io(std::make_shared<AsyncCheckpointIO>(
            AsyncCheckpointIOOptions{.checkpoint_io = stored, .waiting_max = waiting_max})) {}
};

struct Momentum : BoringModel {
  Optimizers configure_optimizers() override { return optim::Adam(parameters(), {.lr = 0.01}); }
};

/// The checkpoints of a fit, by path, with and without AsyncCheckpointIO.
std::map<std::string, MemoryIO::Files> checkpoints_of(const std::filesystem::path& folder, bool async,
                                                      const std::shared_ptr<MemoryIO>& to) {
  torch::manual_seed(3);
  Momentum model;
  std::vector<AnyPlugin> plugins;
  if (async)
    plugins.emplace_back(std::make_shared<AsyncCheckpointIO>(AsyncCheckpointIOOptions{.checkpoint_io = to}));
  else
    plugins.emplace_back(to);
  Trainer trainer(
      quiet({.max_epochs = 2,
             .val_check_interval = 3,
             .plugins = plugins,
             .callbacks = {ModelCheckpoint({.dirpath = folder, .save_top_k = -1, .every_n_train_steps = 2}),
                           ModelCheckpoint({.dirpath = folder,
                                            .filename = "v{step}",
                                            .save_top_k = -1,
                                            .save_on_train_epoch_end = false})}}));
  trainer.fit(model, boring_loader(7), boring_loader(2));
  return to->stored();
}

/// loop.json names the fit that wrote it, which is drawn at random.
void forget_writers(std::map<std::string, MemoryIO::Files>& checkpoints) {
  for (auto& [path, files] : checkpoints) {
    auto loop = nlohmann::json::parse(files.at("loop.json"));
    loop.erase("writer");
    files.at("loop.json") = loop.dump();
    files.erase("checksums.json");
  }
}

}  // namespace

TEST_CASE("async saves: the checkpoints are those of a synchronous run, byte for byte",
          "[unit][checkpoint][async]") {
  const Folder folder;
  auto at_once = checkpoints_of(folder.path(), false, std::make_shared<MemoryIO>());
  auto later = checkpoints_of(folder.path(), true, std::make_shared<MemoryIO>());
  forget_writers(at_once);
  forget_writers(later);
  CHECK(at_once.size() >= 8);
  CHECK(later == at_once);
}

TEST_CASE("async saves: training goes on while a save is written", "[unit][checkpoint][async]") {
  const Folder folder;
  Asynchronous to;
  Gate gate;
  to.stored->before_write = [&](const std::string&) { gate.pass(); };
  BoringModel model;
  Trainer trainer(quiet({.max_epochs = 1,
                         .plugins = {to.io},
                         .callbacks = {LambdaCallback(
                             {.on_train_batch_end = [&](Trainer& t, LightningModule&, const StepOutput&,
                                                        const Batch&, std::int64_t index) {
                               if (index == 0) {
                                 t.save_checkpoint(folder / "first");
                                 gate.wait_for_one();
                                 CHECK(to.stored->stored().empty());
                                 CHECK(t.checkpoint_io().exists(folder / "first"));
                               }
                               if (index == 3) gate.open();  // three steps later
                             }})}}));
  trainer.fit(model, boring_loader(5));
  CHECK(to.stored->stored().size() == 1);  // the end of the fit waited for it
}

TEST_CASE("async saves: an error is thrown by the next save, and ends the fit at the latest",
          "[unit][checkpoint][async]") {
  const Folder folder;
  Asynchronous to;
  to.stored->before_write = [](const std::string&) { throw std::runtime_error("no space left"); };
  std::int64_t steps = 0;
  const auto run = [&](std::int64_t save_at, std::int64_t save_again_at) {
    steps = 0;
    BoringModel model;
    Trainer trainer(quiet({.max_epochs = 1,
                           .plugins = {to.io},
                           .callbacks = {LambdaCallback(
                               {.on_train_batch_end = [&](Trainer& t, LightningModule&, const StepOutput&,
                                                          const Batch&, std::int64_t index) {
                                 ++steps;
                                 if (index == save_at) t.save_checkpoint(folder / "a");
                                 if (index == save_again_at) {
                                   while (to.io->exists(folder / "a"))
                                     std::this_thread::yield();  // until it has failed
                                   t.save_checkpoint(folder / "b");
                                 }
                               }})}}));
    trainer.fit(model, boring_loader(6));
  };
  CHECK_THROWS_WITH(run(1, 3), Catch::Contains("no space left"));
  CHECK(steps == 4);
  CHECK_THROWS_WITH(run(2, -1), Catch::Contains("no space left"));
  CHECK(steps == 6);
  CHECK(to.stored->stored().empty());
  to.stored->before_write = nullptr;
  run(1, -1);  // the error was told once
  CHECK(to.stored->stored().size() == 1);
}

TEST_CASE("async saves: the one before is removed after the new one is there, and not if it fails",
          "[unit][checkpoint][async]") {
  const Folder folder;
  Asynchronous to;
  BoringModel model;
  const auto options = [&] {
    return quiet(
        {.max_epochs = 2, .plugins = {to.io}, .callbacks = {ModelCheckpoint({.dirpath = folder / "c"})}});
  };
  Trainer(options()).fit(model, boring_loader(1));
  const std::vector<std::string> expected{"begin epoch=0-step=1.ckpt", "publish epoch=0-step=1.ckpt",
                                          "begin epoch=1-step=2.ckpt", "publish epoch=1-step=2.ckpt",
                                          "remove epoch=0-step=1.ckpt"};
  CHECK(to.stored->said() == expected);
  CHECK(to.stored->stored().size() == 1);

  Asynchronous failing;
  int files = 0;
  failing.stored->before_write = [&](const std::string&) {
    if (++files > 5) throw std::runtime_error("full");
  };
  auto with = options();
  with.plugins = {failing.io};
  CHECK_THROWS_WITH(Trainer(with).fit(model, boring_loader(1)), Catch::Contains("full"));
  REQUIRE(failing.stored->stored().size() == 1);
  CHECK(failing.stored->stored().begin()->first == (folder / "c/epoch=0-step=1.ckpt").string());
}

TEST_CASE("async saves: a load waits for them, and a save outside of a fit is written at once",
          "[unit][checkpoint][async]") {
  const Folder folder;
  Asynchronous to;
  BoringModel model;
  Trainer trainer(quiet({.max_epochs = 1, .plugins = {to.io}}));
  trainer.fit(model, boring_loader(2));
  trainer.save_checkpoint(folder / "c");
  CHECK(to.stored->stored().size() == 1);
  BoringModel other;
  (void)trainer.validate(other, boring_loader(1), folder / "c");
  CHECK(same_bits(state_of(other), state_of(model)));
}

TEST_CASE("async saves: no more than waiting_max wait", "[unit][checkpoint][async]") {
  Asynchronous to(0);
  Gate gate;
  to.io->save("a", [&](CheckpointIO&) { gate.pass(); });
  gate.wait_for_one();
  std::thread other([&] {
    gate.wait_for_one();
    gate.open();
  });
  bool second = false;
  to.io->save("b", [&](CheckpointIO&) { second = true; });  // not before the first is written
  other.join();
  to.io->wait();
  CHECK(second);
  CHECK_THROWS_WITH(AsyncCheckpointIO({.waiting_max = -1}), Catch::Contains("waiting_max is -1"));
  CHECK_THROWS_WITH(AsyncCheckpointIO({.checkpoint_io = to.io}),
                    Catch::Contains("AsyncCheckpointIO, which writes later itself"));
}

TEST_CASE("async saves: by name, with what it writes to", "[unit][checkpoint][async]") {
  const auto io = Names<CheckpointIO>::from_json(
      {{"name", "AsyncCheckpointIO"}, {"checkpoint_io", "LocalCheckpointIO"}, {"waiting_max", 2}});
  REQUIRE(dynamic_cast<AsyncCheckpointIO*>(io.get()) != nullptr);
  CHECK(dynamic_cast<AsyncCheckpointIO&>(*io).checkpoint_io()->name() == "LocalCheckpointIO");
  CHECK_THROWS_WITH(Names<CheckpointIO>::from_json({{"name", "AsyncCheckpointIO"}, {"checkpoint_io", "S4"}}),
                    Catch::Contains("there is no \"S4\""));
}

TEST_CASE("snapshot: what may change at once is copied at once, the rest before settle() returns",
          "[unit][checkpoint][async]") {
  const torch::NoGradGuard no_grad;
  auto buffers = std::make_shared<HostBuffers>();
  auto parameter = torch::arange(1'000'000, torch::kFloat32), buffer = torch::ones({4}, torch::kInt64);
  auto transposed = torch::arange(6, torch::kFloat64).view({2, 3}).t();
  const auto expected = parameter.clone(), other = transposed.clone();
  SaveFiles files;
  files.tensors["f"].tensors = {{"p", parameter}, {"b", buffer}, {"t", transposed}, {"e", torch::empty({0})}};
  const std::set<const void*> stable{parameter.const_data_ptr(), transposed.const_data_ptr()};
  const void* memory = nullptr;
  {
    Snapshot snapshot(files, stable, buffers);
    buffer.fill_(7);
    transposed.fill_(7);  // not contiguous: copied at once
    snapshot.settle();
    parameter.fill_(7);
    const auto& copied = snapshot.files().tensors.at("f").tensors;
    CHECK(torch::equal(copied.at("p"), expected));
    CHECK(torch::equal(copied.at("b"), torch::ones({4}, torch::kInt64)));
    CHECK(torch::equal(copied.at("t"), other));
    CHECK(copied.at("e").numel() == 0);
    memory = copied.at("p").const_data_ptr();
  }
  Snapshot again(files, stable, buffers);
  CHECK(again.files().tensors.at("f").tensors.at("p").const_data_ptr() == memory);
}

TEST_CASE("save agreement: ranks meet, the failure of one is told to all, and old keys go away",
          "[unit][checkpoint][async]") {
  test::MemoryStore store;
  const auto never = [] { return false; };
  SaveAgreement first(store, 1, 0, 2, never);
  CHECK_THROWS_WITH(first.meet("begun"), Catch::Contains("rank 1 did not come"));
  SaveAgreement second(store, 1, 1, 2, never);
  second.meet("begun");
  first.meet("begun");
  second.fail("no space left");
  CHECK_THROWS_WITH(first.meet("written"), Catch::Contains("rank 1: no space left"));

  SaveAgreement of_0(store, 2, 0, 2, [&] {
    store.set("save/2/begun/1", "");
    return true;
  });
  of_0.meet("begun");
  CHECK_FALSE(store.get("save/1/begun/0").has_value());
  CHECK(store.get("save/1/begun/1").has_value());  // rank 1's to remove
}

TEST_CASE("async saves: a CheckpointIO of one's own may write later, too", "[unit][checkpoint][async]") {
  /// Keeps what it is given until somebody waits.
  struct Patient : MemoryIO {
    [[nodiscard]] bool writes_later() const override { return true; }
    void save(const std::filesystem::path&, std::function<void(CheckpointIO&)> task) override {
      tasks.emplace_back([this, task = std::move(task)] { task(*this); });
    }
    void after_saves(std::function<void()> task) override { tasks.push_back(std::move(task)); }
    void wait() override {
      ++waits;
      for (auto& task : std::exchange(tasks, {})) task();
    }
    std::vector<std::function<void()>> tasks;
    int waits = 0;
  };
  const Folder folder;
  const auto io = std::make_shared<Patient>();
  std::size_t waiting = 0;
  Momentum model;
  Trainer trainer(quiet(
      {.max_epochs = 1,
       .plugins = {io},
       .callbacks = {ModelCheckpoint({.dirpath = folder.path(), .save_top_k = -1, .every_n_train_steps = 2}),
                     LambdaCallback({.on_train_end = [&](Trainer&, LightningModule&) {
                       waiting = io->tasks.size();
                       CHECK(io->stored().empty());
                     }})}}));
  trainer.fit(model, boring_loader(6));
  CHECK(waiting >= 3);
  CHECK(io->waits > 0);
  CHECK(io->stored().size() >= 3);
  CHECK(io->tasks.empty());
  CHECK_THROWS_WITH(AsyncCheckpointIO({.checkpoint_io = io}),
                    Catch::Contains("MemoryIO, which writes later itself"));
}

}  // namespace async_checkpoint_io_test
