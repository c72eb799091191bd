// A strategy of a user's own: each rank steps alone, and every few steps the parameters become their mean
// over the ranks (local SGD).
#pragma once

#include <rtrain/strategies.h>

namespace rtrain::test {

class AveragingStrategy : public Strategy {
 public:
  explicit AveragingStrategy(int every = 1) : every_(every) {}
  [[nodiscard]] std::string name() const override { return "AveragingStrategy"; }
  [[nodiscard]] std::unique_ptr<Plan> prepare(LightningModule& module, bool fitting) override;

 private:
  int every_;
};

}  // namespace rtrain::test
