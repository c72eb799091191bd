// Batches that are sent to the device ahead of their step, with a device that only takes notes.
#include "tests/support/catch.h"
#include "tests/support/state.h"
#include "tests/support/training.h"
#include "worker/run/sending.h"

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace batch_feed_test {

using namespace rtrain;
using rtrain::test::quiet;
using rtrain::test::same_bits;
using rtrain::test::state_of;

namespace {

using Lines = std::vector<std::string>;
Lines notes;

std::string number_of(const Batch& batch) { return std::to_string(batch.target[0].item<std::int64_t>()); }

struct NotedCopy final : BatchCopy {
  explicit NotedCopy(Batch given) : batch(std::move(given)) {}
  Batch finish() override {
    notes.push_back("arrives " + number_of(batch));
    return std::move(batch);
  }
  Batch batch;
};

std::unique_ptr<BatchCopy> note(const Batch& batch, torch::Device) {
  notes.push_back("sent " + number_of(batch));
  return std::make_unique<NotedCopy>(batch);
}

std::unique_ptr<BatchCopy> cannot(const Batch& batch, torch::Device) {
  notes.push_back("not sent " + number_of(batch));
  return nullptr;
}

/// As long as the object lives.
struct Sending {
  explicit Sending(SendBatch send) : before(replace_sender(send)) { notes.clear(); }
  ~Sending() { replace_sender(before); }
  Sending(const Sending&) = delete;
  Sending& operator=(const Sending&) = delete;
  SendBatch before;
};

/// Batch i is of sample i. Says which one is in the making.
struct Rows : Dataset {
  static constexpr std::int64_t kRows = 8;
  mutable std::mutex mutex;
  mutable std::condition_variable changed;
  mutable std::int64_t in_making = -1;
  [[nodiscard]] std::int64_t size() const override { return kRows; }
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices) const override {
    {
      const std::lock_guard lock(mutex);
      in_making = indices.front();
    }
    changed.notify_all();
    return {torch::full({1, 32}, static_cast<double>(indices.front()) / 10),
            torch::full({1}, indices.front())};
  }
  /// Until batch `number` is ready: the one thread makes what follows, if anything does.
  void await(std::int64_t number) const {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return in_making > std::min(number, kRows - 2); });
  }
};

struct Net : test::BoringModel {
  std::shared_ptr<Rows> rows = std::make_shared<Rows>();
  int on_train_batch_start(const Batch&, std::int64_t index) override {
    rows->await(index + 1);
    return 0;
  }
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    notes.push_back("step " + number_of(batch));
    return loss_of(batch);
  }
};

struct OwnTransfer : Net {
  Batch on_after_batch_transfer(Batch batch) override { return batch; }
};

template <class M>
std::map<std::string, torch::Tensor> fit() {
  torch::manual_seed(5);
  M net;
  Trainer trainer(quiet({.max_epochs = 1}));
  trainer.fit(net, DataLoader(net.rows, {.num_workers = 1, .prefetch_factor = 8}));
  return state_of(net);
}

}  // namespace

TEST_CASE("batch feed: the next batch is on its way before the step of this one", "[unit][loops]") {
  const auto expected = [] {
    notes.clear();
    return fit<Net>();
  }();
  CHECK(notes == Lines{"step 0", "step 1", "step 2", "step 3", "step 4", "step 5", "step 6", "step 7"});

  const Sending sending(note);
  CHECK(same_bits(fit<Net>(), expected));
  // That a batch is ready is sure of all but the last, whose thread may not have put it down yet.
  const Lines begin{"sent 1", "step 0", "arrives 1", "sent 2", "step 1", "arrives 2",
                    "sent 3", "step 2", "arrives 3", "sent 4", "step 3", "arrives 4",
                    "sent 5", "step 4", "arrives 5", "sent 6"};
  REQUIRE(notes.size() >= begin.size());
  CHECK(Lines(notes.begin(), notes.begin() + static_cast<std::ptrdiff_t>(begin.size())) == begin);
  CHECK(notes.back() == "step 7");
}

TEST_CASE("batch feed: a batch that cannot be sent is copied when its step takes it", "[unit][loops]") {
  const auto expected = fit<Net>();
  const Sending sending(cannot);
  CHECK(same_bits(fit<Net>(), expected));
  CHECK(notes ==
        Lines{"not sent 1", "step 0", "step 1", "step 2", "step 3", "step 4", "step 5", "step 6", "step 7"});
}

TEST_CASE("batch feed: hooks of the transfer see a batch when it is taken", "[unit][loops]") {
  const Sending sending(note);
  (void)fit<OwnTransfer>();
  CHECK(notes.size() == Rows::kRows);
}

TEST_CASE("batch feed: an evaluation sends its batches ahead, too, and predicts the same", "[unit][loops]") {
  struct Echo : LightningModule {
    torch::Tensor predict_step(const Batch& batch, std::int64_t) override { return batch.target; }
  };
  const auto predict = [] {
    Echo echo;
    Trainer trainer(quiet({}));
    return torch::cat(trainer.predict(echo, DataLoader(std::make_shared<Rows>(), {.num_workers = 1})));
  };
  const auto expected = predict();
  const Sending sending(note);
  CHECK(torch::equal(predict(), expected));
  CHECK(torch::equal(expected, torch::arange(Rows::kRows)));
}

}  // namespace batch_feed_test
