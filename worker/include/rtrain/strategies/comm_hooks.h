// How DDP averages a bucket of gradients: torch.distributed.algorithms.ddp_comm_hooks.
#pragma once

#include <rtrain/export.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace rtrain {

/// DDPOptions::ddp_comm_hook: one of comm_hooks. A value; what a run remembers (errors, iterations) belongs
/// to the run. Sparse gradients (EmbeddingOptions::sparse) are summed as they are, whatever the hook.
/// @thread any.
class RTRAIN_API CommHook {
 public:
  class Recipe;

  CommHook() = default;  ///< none: c10d's own sum
  explicit CommHook(std::shared_ptr<const Recipe> recipe) : recipe_(std::move(recipe)) {}
  [[nodiscard]] bool defined() const { return recipe_ != nullptr; }
  /// "powerSGD", "fp16_compress_wrapper(powerSGD)"; "" if it is not defined.
  [[nodiscard]] std::string name() const;
  [[nodiscard]] const std::shared_ptr<const Recipe>& recipe() const { return recipe_; }

 private:
  std::shared_ptr<const Recipe> recipe_;
};

namespace comm_hooks {

/// Divides, then sums, in the gradients' own type: the same as no hook, to rounding.
[[nodiscard]] RTRAIN_API CommHook allreduce();
/// Casts the bucket to float16, divides by the number of ranks, sums, and casts back: half the bytes of
/// float32. A gradient above 65504 becomes infinite. On the CPU, Gloo adds float16.
[[nodiscard]] RTRAIN_API CommHook fp16_compress();
/// The same with bfloat16: float32's range with 8 bits of precision. NCCL 2.10 or later.
[[nodiscard]] RTRAIN_API CommHook bf16_compress();

/// torch's PowerSGDState: same names and defaults.
struct RTRAIN_API PowerSGDOptions {
  /// Rank r of the approximation P Q^T of a gradient of shape [n, m]; 1 or more. It is lowered to min(n, m).
  std::int64_t matrix_approximation_rank = 1;
  /// Backwards that are summed without compression before the first one that is not. 2 or more with
  /// use_error_feedback or warm_start, because DDP cuts its buckets anew in its second iteration.
  std::int64_t start_powerSGD_iter = 1000;
  /// A gradient is compressed if (n + m) * r * min_compression_rate < n * m; others (vectors, small matrices)
  /// are summed as they are. More than 0.
  double min_compression_rate = 2;
  bool use_error_feedback = true;  ///< what a compression lost is added to the next gradient of this rank
  bool warm_start = true;          ///< begins with the Q of the step before; false: draws a new one each step
  /// Added to the norm of a column before the division by it, which zero gradients would else make 0 / 0; 0
  /// or more. Only ranks below 3 and 16-bit types use it: the others take a QR decomposition.
  double orthogonalization_epsilon = 0;
  std::uint32_t random_seed = 0;  ///< of the first Q; the same on every rank
};
/// PowerSGD (Vogels et al. 2019, https://arxiv.org/abs/1905.13727): sends P and Q in the place of each
/// gradient of two or more dimensions, of which the first counts as rows. The numbers are those of torch's
/// powerSGD_hook, also the drawn ones.
///
/// Checkpoints hold each rank's errors, Q, and the iteration. A run that resumes with another number of ranks
/// keeps Q and the iteration and begins without errors, with a warning. Without warm_start the first step
/// after a resume draws for the first buckets of a run, so its numbers are others.
/// @throws std::invalid_argument lists the options that are out of range.
[[nodiscard]] RTRAIN_API CommHook powerSGD(PowerSGDOptions options = {});

/// torch's PostLocalSGDState.
struct RTRAIN_API PostLocalSGDOptions {
  /// Backwards whose gradients are averaged over all ranks; 0 or more. Must be given.
  std::int64_t start_localSGD_iter = -1;
  /// Ranks of a group, over which gradients are averaged from then on: ranks 0 to n - 1, n to 2n - 1, and so
  /// on. It must divide the number of ranks. 0: the ranks of one node.
  int subgroup_size = 0;
  bool post_local_gradient_allreduce = true;  ///< false: from then on each rank uses its own gradients
};
/// Post-local SGD (Lin et al. 2018, https://arxiv.org/abs/1808.07217). DDPOptions::model_averaging_period or
/// model_averaging_hierarchy says when the parameters are averaged.
/// @throws std::invalid_argument lists the options that are out of range.
[[nodiscard]] RTRAIN_API CommHook post_localSGD(PostLocalSGDOptions options);

/// Runs `hook` on a bucket that is cast to float16, and casts its result back: Lightning's ddp_comm_wrapper.
/// @throws std::invalid_argument `hook` is not defined, or is a wrapper itself.
[[nodiscard]] RTRAIN_API CommHook fp16_compress_wrapper(const CommHook& hook);
/// The same with bfloat16.
[[nodiscard]] RTRAIN_API CommHook bf16_compress_wrapper(const CommHook& hook);

}  // namespace comm_hooks
}  // namespace rtrain
