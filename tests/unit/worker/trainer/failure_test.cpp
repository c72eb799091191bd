// Whatever a step, a hook or the data throw: who hears of it, and the place that is told with it.
#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace trainer_failure_test {

using namespace rtrain;
using rtrain::test::boring_loader;
using rtrain::test::quiet;

TEST_CASE("trainer: whatever is thrown reaches on_exception, ends the plan, and leaves as it was",
          "[unit][trainer][F37]") {
  struct Throws : test::BoringModel {
    std::function<void()> act;
    StepOutput training_step(const Batch& batch, std::int64_t i) override {
      if (current_epoch() == 1 && i == 2) act();
      return BoringModel::training_step(batch, i);
    }
  };
  struct CountedPlan : Plan {
    int* ends;
    CountedPlan(LightningModule& module, Mesh& mesh, torch::Device device, int* count)
        : Plan(module, mesh, device), ends(count) {}
    ~CountedPlan() override { ++*ends; }
  };
  struct Counting : SingleDeviceStrategy {
    int* ends;
    explicit Counting(int* count) : ends(count) {}
    std::unique_ptr<Plan> prepare(LightningModule& module, bool) override {
      return std::make_unique<CountedPlan>(module, mesh(), device(), ends);
    }
  };
  struct Listens : Callback {
    std::vector<std::string>* told;
    bool fails;
    Listens(std::vector<std::string>* to, bool failing) : told(to), fails(failing) {}
    void on_exception(Trainer&, LightningModule&, const std::exception& error) override {
      told->push_back(error.what());
      if (fails) throw std::logic_error("on_exception is broken, too");
    }
  };
  struct Row {
    std::function<void()> act;
    std::string told;
    std::function<bool()> same;  ///< in the handler
  };
  struct Own {};
  const auto is = []<class T>(T) {
    return [] {
      try {
        throw;
      } catch (const T&) {
        return true;
      } catch (...) {
        return false;
      }
    };
  };
  for (const auto& row :
       std::vector<Row>{{[] { throw std::out_of_range("far away"); }, "far away", is(std::out_of_range(""))},
                        {[] { throw 42; }, "not a std::exception, of type int", is(0)},
                        {[] { throw "words"; }, "words", is((const char*)nullptr)},
                        {[] { throw std::string("text"); }, "text", is(std::string())},
                        {[] { throw Own(); }, "Own", is(Own())}}) {
    Throws model;
    model.act = row.act;
    int ends = 0;
    std::vector<std::string> told;
    Trainer trainer(quiet({.max_epochs = 2,
                           .strategy = Counting(&ends),
                           .callbacks = {Listens(&told, true), Listens(&told, false)}}));
    const test::Heard heard;
    bool same = false;
    try {
      trainer.fit(model, boring_loader(4));
    } catch (...) {
      same = row.same();
    }
    INFO(row.told);
    CHECK(same);
    CHECK(ends == 1);
    REQUIRE(told.size() == 2);
    for (const auto& text : told) CHECK_THAT(text, Catch::Contains(row.told));
    CHECK_THAT(heard.text(),
               Catch::Contains("an exception leaves training_step, epoch 1, batch 2, rank 0\n") &&
                   Catch::Contains("on_exception is broken, too"));
  }
}

TEST_CASE("trainer: the place of an exception is the innermost hook", "[unit][trainer]") {
  struct Broken : Dataset {
    std::int64_t size() const override { return 8; }
    Batch get_batch(std::span<const std::int64_t> indices) const override {
      if (indices[0] == 5) throw std::runtime_error("sample 5");
      return {torch::zeros({1, 32}), {}};
    }
  };
  const auto place = [](const TrainerOptions& options, const DataLoader& train, const DataLoader& val) {
    test::BoringModel model;
    Trainer trainer(quiet(options));
    const test::Heard heard;
    CHECK_THROWS(trainer.fit(model, train, val));
    return heard.text();
  };
  const DataLoader broken(std::make_shared<Broken>(), {.batch_size = 1});
  CHECK_THAT(place({.max_epochs = 1}, broken, {}),
             Catch::Contains("leaves data loader, epoch 0, batch 5, rank 0"));
  CHECK_THAT(place({.max_epochs = 1, .num_sanity_val_steps = 0}, boring_loader(2), broken),
             Catch::Contains("leaves data loader, epoch 0, batch 5, rank 0"));
  CHECK_THAT(place({.max_epochs = 1, .num_sanity_val_steps = -1}, boring_loader(2), broken),
             Catch::Contains("leaves data loader, sanity check, batch 5, rank 0"));
  const auto fails = [](Trainer&, LightningModule&) { throw std::runtime_error("here"); };
  CHECK_THAT(place({.max_epochs = 1, .callbacks = {LambdaCallback({.on_train_epoch_end = fails})}},
                   boring_loader(2), {}),
             Catch::Contains("leaves on_train_epoch_end, epoch 0, rank 0"));
  CHECK_THAT(
      place({.max_epochs = 1, .callbacks = {LambdaCallback({.on_fit_start = fails})}}, boring_loader(2), {}),
      Catch::Contains("leaves on_fit_start, rank 0"));
  const auto at_batch = [](Trainer&, LightningModule&, Optimizer&) { throw std::runtime_error("here"); };
  CHECK_THAT(place({.max_epochs = 1, .callbacks = {LambdaCallback({.on_before_optimizer_step = at_batch})}},
                   boring_loader(2), {}),
             Catch::Contains("leaves on_before_optimizer_step, epoch 0, batch 0, rank 0"));
}

TEST_CASE("TrainReportCallback: outside of a job a TMPDIR that is not there is found at the start",
          "[unit][trainer]") {
  const char* set = std::getenv("TMPDIR");
  const std::string before = set != nullptr ? set : "";
  ::setenv("TMPDIR", "/nowhere", 1);
  test::BoringModel model;
  Trainer trainer(quiet({.max_epochs = 1, .callbacks = {TrainReportCallback()}}));
  CHECK_THROWS_WITH(trainer.fit(model, boring_loader(2)),
                    Catch::Contains("made in /nowhere (TMPDIR), where no folder can be made: No such file"));
  CHECK(trainer.global_step() == 0);
  if (set != nullptr)
    ::setenv("TMPDIR", before.c_str(), 1);
  else
    ::unsetenv("TMPDIR");
}

}  // namespace trainer_failure_test
