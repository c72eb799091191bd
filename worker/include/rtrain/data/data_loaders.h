// One loader, or several that a loop reads.
#pragma once

#include <rtrain/data/data_loader.h>

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rtrain {

/// How a loop reads several loaders: the modes of Lightning's CombinedLoader.
enum class CombineMode {
  kMinSize,       ///< a batch of each at a time, until the shortest ends
  kMaxSizeCycle,  ///< until the longest ends; a shorter one begins again, in the same order
  kMaxSize,       ///< until the longest ends; a shorter one gives empty batches then
  kSequential,    ///< one loader after the other
};

/// What train_dataloader(), val_dataloader(), fit() and the others give: none, one or several loaders.
///
/// Training reads several together (kMaxSizeCycle by default): a batch holds a Nested with one batch of each
/// loader, under the names given here or "0", "1", ... An evaluation reads them one after the other
/// (kSequential by default): LightningModule::dataloader_idx() counts them, and what a step logs is named
/// `name/dataloader_idx_0`. A list of one loader is that loader. Cheap to copy.
class RTRAIN_API DataLoaders {
 public:
  using Named = std::pair<std::string, DataLoader>;

  DataLoaders() = default;                       ///< none
  DataLoaders(DataLoader loader);                // NOLINT: implicit on purpose
  DataLoaders(std::vector<DataLoader> loaders);  // NOLINT: implicit on purpose
  DataLoaders(std::vector<Named> loaders);       // NOLINT: implicit on purpose
  DataLoaders(std::initializer_list<DataLoader> loaders);
  DataLoaders(std::initializer_list<Named> loaders);
  /// DataLoader(dataset, options)
  DataLoaders(std::shared_ptr<const Dataset> dataset, DataLoaderOptions options);
  DataLoaders(std::shared_ptr<const StreamDataset> stream, DataLoaderOptions options);

  [[nodiscard]] bool defined() const { return !loaders_.empty(); }
  [[nodiscard]] std::size_t size() const { return loaders_.size(); }
  [[nodiscard]] const std::vector<Named>& all() const { return loaders_; }
  [[nodiscard]] std::optional<CombineMode> mode() const { return mode_; }  ///< none: the loop's default

 private:
  friend RTRAIN_API DataLoaders CombinedLoader(DataLoaders loaders, const std::string& mode);
  std::vector<Named> loaders_;  ///< each defined
  std::optional<CombineMode> mode_;
};

/// Lightning's CombinedLoader: the loaders with a mode of their own.
/// @param mode "min_size", "max_size_cycle", "max_size" or "sequential", which fit() refuses for training.
/// @throws std::invalid_argument another mode.
[[nodiscard]] RTRAIN_API DataLoaders CombinedLoader(DataLoaders loaders,
                                                    const std::string& mode = "min_size");

}  // namespace rtrain
