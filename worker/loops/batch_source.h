// Where a loop takes its batches from: one loader, or several that are read together.
#pragma once

#include <rtrain/data/data_loaders.h>
#include <rtrain/trainer.h>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rtrain {

class RTRAIN_API BatchSource {
 public:
  BatchSource() = default;  ///< no data
  /// @param mode any but kSequential; of one loader it does not matter. @param limit of each loader, and the
  ///        name of the option that says it.
  /// @throws std::invalid_argument see limited(); also a stream that pads beside other loaders.
  BatchSource(std::vector<DataLoaders::Named> loaders, CombineMode mode, const BatchCount& limit,
              const std::string& option);

  [[nodiscard]] bool defined() const { return !children_.empty(); }
  /// Batches of a pass, after limits. Of streams: at most so many, or kUnknownBatches.
  [[nodiscard]] std::int64_t size() const { return size_; }
  [[nodiscard]] bool has_stream() const;  ///< its passes may end before size()
  /// A pass of a rank that has ended goes on from its beginning while those of others last.
  [[nodiscard]] bool pads() const;
  /// Batches of a pass that begins where start_after() says.
  [[nodiscard]] std::int64_t size_of_rest() const;
  [[nodiscard]] bool is_empty() const;  ///< no batch, whatever the limit
  /// Samples of a batch of one rank. Of several loaders, those of the first.
  [[nodiscard]] std::int64_t batch_size() const;
  void set_epoch(std::int64_t epoch) const;
  /// As Sampler::start_after(). Several loaders cannot: their parts end in different places.
  [[nodiscard]] bool start_after(std::int64_t samples) const;
  /// The places in the data set of the samples of each batch of the pass that goes on. Costs as much as all
  /// of them: not once a batch. @throws std::logic_error several loaders are read together.
  [[nodiscard]] std::vector<std::vector<std::int64_t>> samples() const;
  [[nodiscard]] std::string parts() const;  ///< "5 samples, batch_size 8, drop_last", for messages

  class RTRAIN_API Iterator {
   public:
    /// The next batch; std::nullopt at the end. Of several loaders it holds a Nested.
    [[nodiscard]] std::optional<Batch> next();
    /// True if next() will give a batch. Waits for it if it is of a stream.
    [[nodiscard]] bool has_next();
    /// True if next() will give a batch at once. Never of a stream, nor of several loaders.
    [[nodiscard]] bool is_made() const {
      return children_.size() == 1 && children_.front().batches.is_made();
    }
    /// Of a source that pads: begins the pass again.
    void begin_again();
    [[nodiscard]] bool has_begun_again() const;
    /// The places in streams behind the latest batch of next(), for resume(); null without streams.
    [[nodiscard]] nlohmann::json save_state() const;

   private:
    friend class BatchSource;
    struct Child {
      const DataLoader* loader;
      DataLoader::Iterator batches;
      bool has_ended = false;  ///< at least once
    };
    const BatchSource* source_ = nullptr;
    std::int64_t epoch_ = 0;
    std::vector<Child> children_;
  };
  /// The batches of a pass from number `first` on. @lifetime of this source.
  [[nodiscard]] Iterator epoch(std::int64_t epoch, std::int64_t first = 0) const;
  /// The same behind the place that Iterator::save_state() gave, where `first` batches were taken.
  /// @throws std::invalid_argument the place is of other loaders, ranks or threads.
  [[nodiscard]] Iterator resume(std::int64_t epoch, std::int64_t first, const nlohmann::json& state) const;

 private:
  std::vector<DataLoaders::Named> children_;
  CombineMode mode_ = CombineMode::kMaxSizeCycle;
  std::int64_t size_ = 0;
};

}  // namespace rtrain
