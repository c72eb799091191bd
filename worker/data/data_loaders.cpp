#include <rtrain/data/data_loaders.h>

#include <array>
#include <set>
#include <stdexcept>

namespace rtrain {
namespace {

constexpr std::array<std::pair<const char*, CombineMode>, 4> kModes{{
    {"min_size", CombineMode::kMinSize},
    {"max_size_cycle", CombineMode::kMaxSizeCycle},
    {"max_size", CombineMode::kMaxSize},
    {"sequential", CombineMode::kSequential},
}};

std::vector<DataLoaders::Named> numbered(std::vector<DataLoader> loaders) {
  std::vector<DataLoaders::Named> all;
  for (auto& loader : loaders) all.emplace_back(std::to_string(all.size()), std::move(loader));
  return all;
}

}  // namespace

DataLoaders::DataLoaders(DataLoader loader) {
  if (loader.defined()) loaders_.emplace_back("0", std::move(loader));
}
DataLoaders::DataLoaders(std::vector<DataLoader> loaders) : DataLoaders(numbered(std::move(loaders))) {}
DataLoaders::DataLoaders(std::initializer_list<DataLoader> loaders)
    : DataLoaders(std::vector<DataLoader>(loaders)) {}
DataLoaders::DataLoaders(std::initializer_list<Named> loaders) : DataLoaders(std::vector<Named>(loaders)) {}
DataLoaders::DataLoaders(std::shared_ptr<const Dataset> dataset, DataLoaderOptions options)
    : DataLoaders(DataLoader(std::move(dataset), std::move(options))) {}

DataLoaders::DataLoaders(std::shared_ptr<const StreamDataset> stream, DataLoaderOptions options)
    : DataLoaders(DataLoader(std::move(stream), std::move(options))) {}

DataLoaders::DataLoaders(std::vector<Named> loaders) : loaders_(std::move(loaders)) {
  std::set<std::string> names;
  for (const auto& [name, loader] : loaders_) {
    if (!loader.defined())
      throw std::invalid_argument("DataLoaders: the loader \"" + name + "\" has no data set");
    if (!names.insert(name).second)
      throw std::invalid_argument("DataLoaders: two loaders are called \"" + name + "\"");
  }
}

DataLoaders CombinedLoader(DataLoaders loaders, const std::string& mode) {
  std::string known;
  for (const auto& [name, value] : kModes) {
    if (name == mode) {
      loaders.mode_ = value;
      return loaders;
    }
    known += std::string(known.empty() ? "\"" : ", \"") + name + "\"";
  }
  throw std::invalid_argument("CombinedLoader: mode is \"" + mode + "\", expected " + known);
}

}  // namespace rtrain
