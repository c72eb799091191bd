// Kineto of this process, on for some steps: what PyTorchProfiler and a profile of a running job share.
#pragma once

#include "worker/profilers/key_averages.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace rtrain::profilers {

struct RecordingOptions {
  bool record_shapes = false, profile_memory = false, with_stack = false, with_flops = false;
  bool uses_gpu = false;  ///< kernels, copies and NCCL as well
};

/// prepare(), begin(), steps and ranges, end(). Ranges nest, within steps; those that begin while nothing is
/// recorded are not in the trace.
/// @thread the training thread; one in a process is on at a time.
class Recording {
 public:
  explicit Recording(RecordingOptions options);
  ~Recording();
  Recording(Recording&&) noexcept;
  Recording& operator=(Recording&&) noexcept;

  /// True while Kineto, or another profiler of LibTorch, records in this thread.
  [[nodiscard]] static bool another_is_on();

  /// Switches Kineto on; its records are dropped until begin(). Does nothing the second time.
  void prepare();
  /// Records from here on; prepares if nobody has.
  void begin();
  [[nodiscard]] bool is_on() const;

  /// A range of the name "ProfilerStep#<number>".
  void begin_step(std::int64_t number);
  void end_step();
  void begin_range(const std::string& name);
  /// The innermost. @return false: there is none.
  bool end_range();
  void drop_ranges();

  /// What was recorded.
  class Trace {
   public:
    struct Content;
    explicit Trace(std::unique_ptr<Content> content);
    ~Trace();
    Trace(Trace&&) noexcept;
    Trace& operator=(Trace&&) = delete;
    [[nodiscard]] std::vector<TraceEvent> events() const;
    /// Writes a Chrome trace, and the folders on its way. @return why it could not; nothing: it is there.
    [[nodiscard]] std::optional<std::string> save(const std::filesystem::path& path) const;

   private:
    std::unique_ptr<Content> content_;
  };
  /// Ends the step and the ranges, and switches Kineto off. Nothing: it gave no trace.
  [[nodiscard]] std::optional<Trace> end();
  /// Switches off what was prepared and never begun: Kineto refuses to be prepared twice.
  void drop_preparation();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rtrain::profilers
