// Schedulers made of schedulers: SequentialLR, ChainedScheduler.
#include <rtrain/schedulers.h>

#include "worker/schedulers/saved_state.h"

#include <algorithm>

namespace rtrain {

/// Several schedulers of one optimizer under one state.
class SchedulerSequence : public LRScheduler {
 public:
  using Members = std::vector<std::shared_ptr<LRScheduler>>;

  SchedulerSequence(const char* type, Members members)
      : LRScheduler(optimizer_of(type, members), type), members_(std::move(members)) {}

  [[nodiscard]] bool counts_steps() const override {
    return std::any_of(members_.begin(), members_.end(), [](const auto& m) { return m->counts_steps(); });
  }
  [[nodiscard]] nlohmann::json state() const override {
    auto state = LRScheduler::state();
    for (const auto& member : members_) state["schedulers"].push_back(member->state());
    return state;
  }
  void load_state(const nlohmann::json& state) override {
    const schedulers::SavedState saved(state, type_name());
    const auto& list = saved.at("schedulers");
    if (!list.is_array() || list.size() != members_.size())
      saved.fail("is not one of " + std::to_string(members_.size()) + " schedulers");
    // What a member refuses leaves the others as they were.
    std::vector<nlohmann::json> before;
    for (const auto& member : members_) before.push_back(member->state());
    try {
      for (std::size_t i = 0; i < members_.size(); ++i) members_[i]->load_state(list[i]);
      LRScheduler::load_state(state);
    } catch (...) {
      for (std::size_t i = 0; i < members_.size(); ++i) members_[i]->load_state(before[i]);
      throw;
    }
  }

 protected:
  static void begin_again(LRScheduler& member) {
    member.step_count_ = 0;
    member.last_epoch_ = -1;
    member.begin();
  }
  void take_back() override {
    LRScheduler::take_back();
    for (const auto& member : members_) member->take_back();
  }
  static void take_back(LRScheduler& member) { member.take_back(); }
  static void restart(LRScheduler& member) { member.restart(); }
  using LRScheduler::restart;

  Members members_;

 private:
  static std::shared_ptr<Optimizer> optimizer_of(const std::string& type, const Members& members) {
    schedulers::require(!members.empty(), type, "got no schedulers");
    for (std::size_t i = 0; i < members.size(); ++i) {
      const auto number = "scheduler " + std::to_string(i);
      schedulers::require(members[i] != nullptr, type, number + " is null");
      schedulers::require(
          !members[i]->needs_metric(), type,
          number + " is a ReduceLROnPlateau, which needs a metric: return it beside this scheduler");
      schedulers::require(
          &members[i]->optimizer() == &members.front()->optimizer(), type,
          number + " (" + members[i]->type_name() + ") is of another optimizer than scheduler 0");
    }
    return members.front()->optimizer_;
  }
};

namespace lr {
namespace {

class Sequence final : public SchedulerSequence {
 public:
  Sequence(const SharedOptimizer& optimizer, Members members, std::vector<std::int64_t> milestones)
      : SchedulerSequence("SequentialLR", std::move(members)), milestones_(std::move(milestones)) {
    schedulers::require(optimizer.get() == &this->optimizer(), type_name(),
                        "scheduler 0 is of another optimizer");
    schedulers::require(milestones_.size() + 1 == members_.size(), type_name(),
                        "expected one milestone less than schedulers, found " +
                            std::to_string(milestones_.size()) + " and " + std::to_string(members_.size()));
    schedulers::require(std::is_sorted(milestones_.begin(), milestones_.end()), type_name(),
                        "the milestones must ascend");
    start();
  }

  void step() override {
    ++step_count_;
    ++last_epoch_;
    const auto passed = static_cast<std::size_t>(
        std::upper_bound(milestones_.begin(), milestones_.end(), last_epoch_) - milestones_.begin());
    if (passed > 0 && milestones_[passed - 1] == last_epoch_)
      SchedulerSequence::restart(*members_[passed]);
    else
      members_[passed]->step();
    last_lr_ = members_[passed]->last_lr();
  }
  void step_to(double) override {
    throw std::logic_error(
        "SequentialLR cannot go to an epoch: its members compute each rate from the one before");
  }

 protected:
  [[nodiscard]] Rates rates() override { return last_lr_; }
  void restart() override { start(); }

 private:
  void start() {
    for (auto& group : optimizer().groups()) group.options["lr"] = group.options.at("initial_lr");
    for (const auto& member : members_) SchedulerSequence::take_back(*member);
    begin_again(*members_.front());
    last_epoch_ = 0;
    last_lr_ = members_.front()->last_lr();
  }
  std::vector<std::int64_t> milestones_;
};

class Together final : public SchedulerSequence {
 public:
  explicit Together(Members members) : SchedulerSequence("ChainedScheduler", std::move(members)) {
    last_epoch_ = 0;
    last_lr_ = members_.back()->last_lr();
  }

  void step() override {
    ++step_count_;
    ++last_epoch_;
    for (const auto& member : members_) member->step();
    last_lr_ = members_.back()->last_lr();
  }
  void step_to(double) override {
    throw std::logic_error(
        "ChainedScheduler cannot go to an epoch: its members compute each rate from the one before");
  }

 protected:
  [[nodiscard]] Rates rates() override { return last_lr_; }
  void restart() override {
    for (auto& group : optimizer().groups()) group.options["lr"] = group.options.at("initial_lr");
    for (const auto& member : members_) begin_again(*member);
    last_epoch_ = 0;
    last_lr_ = members_.back()->last_lr();
  }
};

}  // namespace

SharedScheduler SequentialLR(SharedOptimizer optimizer, std::vector<SharedScheduler> schedulers,
                             std::vector<std::int64_t> milestones) {
  return std::make_shared<Sequence>(optimizer, std::move(schedulers), std::move(milestones));
}
SharedScheduler ChainedScheduler(std::vector<SharedScheduler> schedulers) {
  return std::make_shared<Together>(std::move(schedulers));
}

}  // namespace lr
}  // namespace rtrain
