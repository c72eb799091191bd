// Every operator and kernel of some steps, as a Chrome trace and a table: Lightning's PyTorchProfiler, on
// LibTorch's own Kineto.
#pragma once

#include <rtrain/profiler.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace rtrain {

/// torch.profiler's schedule and Lightning's arguments. A step is a training batch with its backward and
/// optimizer step, or a batch of an evaluation; Lightning's ends before backward.
struct RTRAIN_API PyTorchProfilerOptions {
  std::filesystem::path dirpath{};
  std::string filename{};
  std::int64_t skip_first = 0;  ///< steps before the first cycle
  std::int64_t wait = 1;        ///< steps of a cycle that are not recorded
  std::int64_t warmup = 1;      ///< then steps with the profiler on, whose records are dropped
  std::int64_t active = 3;      ///< then steps that are recorded; 1 or more
  std::int64_t repeat = 0;      ///< cycles; 0: until the run ends
  bool record_shapes = false;   ///< shapes of the operators' inputs, in the trace
  bool profile_memory = false;  ///< allocations, in the trace
  bool with_stack = false;      ///< TorchScript's stacks; C++ has none
  bool with_flops = false;      ///< estimates for matmul and convolutions; implies record_shapes
  bool export_to_chrome = true;
  std::int64_t row_limit = 20;  ///< rows of the table; -1: all
  /// "cpu_time_total", "cuda_time_total", "self_cpu_time_total", "self_cuda_time_total" or "count"; empty:
  /// cuda_time_total on a GPU, else cpu_time_total
  std::string sort_by_key{};
};

/// One line of the table: an operator, one of the Trainer's actions, or a kernel.
struct RTRAIN_API KeyAverage {
  std::string name;
  std::int64_t count = 0;
  double cpu_us = 0, self_cpu_us = 0;    ///< sums; "self" is without what it called
  double cuda_us = 0, self_cuda_us = 0;  ///< of the kernels that it started
  double flops = 0;                      ///< 0 unless with_flops
};

/// Registered as "pytorch". Each cycle writes dirpath/<stage>-<filename>-<local rank>.<n>.pt.trace.json,
/// which chrome://tracing, Perfetto and TensorBoard open; the table is of the last whole cycle. Actions of
/// the Trainer are ranges in the trace, steps are called "ProfilerStep#N". A cycle that the run ends early is
/// written with the steps that it has.
/// @thread the training thread; one in a process at a time.
class RTRAIN_API PyTorchProfiler : public Profiler {
 public:
  /// @throws std::invalid_argument every problem of the options at once.
  explicit PyTorchProfiler(PyTorchProfilerOptions options = {});
  PyTorchProfiler(PyTorchProfiler&&) noexcept;
  ~PyTorchProfiler() override;

  [[nodiscard]] const std::vector<std::filesystem::path>& traces() const;  ///< that were written
  [[nodiscard]] const std::vector<KeyAverage>& key_averages() const;       ///< sorted as in the table

  void start(const std::string& action) override;
  void stop(const std::string& action) override;
  [[nodiscard]] std::string summary() const override;
  void setup(const ProfiledRun& run) override;
  /// @throws std::runtime_error a trace could not be written, also one of an earlier cycle: names it and the
  ///        cause.
  void describe() override;
  void teardown() noexcept override;

 private:
  struct Impl;
  void finish_cycle();
  std::unique_ptr<Impl> impl_;
};

}  // namespace rtrain
