// A table of a model's layers: Lightning's ModelSummary.
#pragma once

#include <rtrain/callback.h>

#include <cstdint>
#include <string>
#include <vector>

namespace rtrain {

/// One layer of a summary.
struct RTRAIN_API LayerSummary {
  std::string name{};           ///< "encoder.layers.0"
  std::string type{};           ///< the class, without namespaces and Impl: "Conv2d"
  std::int64_t parameters = 0;  ///< elements, of it and of what is below it
  bool training = true;         ///< its mode
  /// "[1, 32]" of its first input and of its output, as an example has them; empty: not known
  std::string in_size{}, out_size{};
};

/// Counts of a whole model. A parameter that several layers share counts once in the totals.
struct RTRAIN_API ModelCounts {
  std::vector<LayerSummary> layers{};  ///< in the order of named_modules(), down to max_depth
  std::int64_t trainable = 0, frozen = 0;
  std::int64_t bytes = 0;                            ///< of all parameters
  std::int64_t in_train_mode = 0, in_eval_mode = 0;  ///< modules at any depth, without the model itself

  /// Lightning's table without FLOPs; the columns of sizes are there if a layer has some.
  [[nodiscard]] std::string table() const;
};

/// @param max_depth 1: the model's own layers, 2: theirs too, ..., -1: all, 0: only the totals.
/// @throws std::invalid_argument below -1.
[[nodiscard]] RTRAIN_API ModelCounts summarize(const torch::nn::Module& module, int max_depth = 1);

/// Prints summarize() of the module on rank 0 at the start of a fit. If the module has an example_input() and
/// a predict_step(), that runs once, in eval mode: the sizes of each layer that has parameters of its own are
/// those of the first operation on them.
class RTRAIN_API ModelSummary : public Callback {
 public:
  explicit ModelSummary(int max_depth = 1);
  [[nodiscard]] CallbackRole role() const override { return CallbackRole::kModelSummary; }
  void on_fit_start(Trainer& trainer, LightningModule& module) override;

 private:
  int max_depth_;
};

}  // namespace rtrain
