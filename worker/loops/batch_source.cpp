#include "worker/loops/batch_source.h"

#include "worker/loops/batch_limit.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace rtrain {

BatchSource::BatchSource(std::vector<DataLoaders::Named> loaders, CombineMode mode, const BatchCount& limit,
                         const std::string& option)
    : children_(std::move(loaders)), mode_(mode) {
  std::vector<std::int64_t> sizes;
  for (const auto& [name, loader] : children_)
    sizes.push_back(limited(limit, loader.size(),
                            children_.size() == 1 ? option : option + " (loader \"" + name + "\")"));
  if (sizes.empty()) return;
  for (const auto& [name, loader] : children_)
    if (children_.size() > 1 && loader.options().stream_end == StreamEnd::kPad)
      throw std::invalid_argument("the loader \"" + name +
                                  "\" has stream_end = kPad, and is read together with " +
                                  std::to_string(children_.size() - 1) +
                                  " others, which end elsewhere: pad a stream that is the only loader");
  // A loader without batches has nothing to begin again with.
  size_ = mode_ == CombineMode::kMinSize ? *std::min_element(sizes.begin(), sizes.end())
                                         : *std::max_element(sizes.begin(), sizes.end());
  if (mode_ == CombineMode::kMaxSizeCycle && std::find(sizes.begin(), sizes.end(), 0) != sizes.end())
    size_ = 0;
}

bool BatchSource::has_stream() const {
  return std::any_of(children_.begin(), children_.end(),
                     [](const auto& child) { return child.second.is_stream(); });
}

bool BatchSource::pads() const {
  return children_.size() == 1 && children_.front().second.options().stream_end == StreamEnd::kPad;
}

std::int64_t BatchSource::size_of_rest() const {
  return children_.size() == 1 ? children_.front().second.size() : size_;
}

bool BatchSource::is_empty() const {
  const auto none = [](const auto& child) { return child.second.size() == 0; };
  return mode_ == CombineMode::kMaxSize ? std::all_of(children_.begin(), children_.end(), none)
                                        : std::any_of(children_.begin(), children_.end(), none);
}

std::int64_t BatchSource::batch_size() const { return children_.front().second.options().batch_size; }

void BatchSource::set_epoch(std::int64_t epoch) const {
  for (const auto& [name, loader] : children_)
    if (!loader.is_stream()) loader.sampler().set_epoch(epoch);
}

bool BatchSource::start_after(std::int64_t samples) const {
  if (children_.size() > 1 && samples > 0) return false;
  bool all = true;
  for (const auto& [name, loader] : children_) {
    const bool can = loader.is_stream() ? samples == 0 : loader.sampler().start_after(samples);
    all = can && all;
  }
  return all;
}

std::vector<std::vector<std::int64_t>> BatchSource::samples() const {
  if (children_.size() != 1)
    throw std::logic_error(
        "the samples of a batch are known of one loader, not of several that are read together");
  const auto& loader = children_.front().second;
  if (loader.is_stream())
    throw std::logic_error("the samples of an IterableDataset have no places in a data set");
  if (loader.batch_sampler() != nullptr) return loader.batch_sampler()->batches();
  const auto all = loader.sampler().indices();
  const auto count = static_cast<std::int64_t>(all.size()), size = loader.options().batch_size;
  std::vector<std::vector<std::int64_t>> batches;
  for (std::int64_t i = 0; i < loader.size(); ++i)
    batches.emplace_back(all.begin() + i * size, all.begin() + std::min(count, (i + 1) * size));
  return batches;
}

std::string BatchSource::parts() const {
  if (children_.size() == 1) return parts_of(children_.front().second);
  std::string text;
  for (const auto& [name, loader] : children_)
    text += (text.empty() ? "\"" : "; \"") + name + "\": " + parts_of(loader);
  return text;
}

BatchSource::Iterator BatchSource::epoch(std::int64_t epoch, std::int64_t first) const {
  Iterator iterator;
  iterator.source_ = this;
  iterator.epoch_ = epoch;
  for (const auto& [name, loader] : children_) {
    const auto size = loader.size();
    const bool again = mode_ == CombineMode::kMaxSizeCycle && children_.size() > 1 && size > 0;
    iterator.children_.push_back(
        {&loader, loader.epoch(epoch, again ? first % size : std::min(first, size)), again && first >= size});
  }
  return iterator;
}

BatchSource::Iterator BatchSource::resume(std::int64_t epoch, std::int64_t first,
                                          const nlohmann::json& state) const {
  if (!state.is_array() || state.size() != children_.size())
    throw std::invalid_argument("the saved places in streams are of " +
                                std::to_string(state.is_array() ? state.size() : 0) + " loaders, there are " +
                                std::to_string(children_.size()));
  Iterator iterator;
  iterator.source_ = this;
  iterator.epoch_ = epoch;
  for (std::size_t i = 0; i < children_.size(); ++i) {
    const auto& loader = children_[i].second;
    const auto& saved = state[i];
    if (loader.is_stream() != saved.contains("place"))
      throw std::invalid_argument("the saved places in streams are of other loaders: \"" +
                                  children_[i].first + "\" was " +
                                  (loader.is_stream() ? "no stream" : "a stream"));
    const auto size = loader.size();
    const bool again = mode_ == CombineMode::kMaxSizeCycle && children_.size() > 1 && size > 0;
    if (loader.is_stream())
      iterator.children_.push_back(
          {&loader, loader.resume(epoch, saved.at("place")), saved.value("has_ended", false)});
    else
      iterator.children_.push_back({&loader,
                                    loader.epoch(epoch, again ? first % size : std::min(first, size)),
                                    again && first >= size});
  }
  return iterator;
}

nlohmann::json BatchSource::Iterator::save_state() const {
  if (source_ == nullptr || !source_->has_stream()) return nullptr;
  auto children = nlohmann::json::array();
  for (const auto& child : children_) {
    auto& saved = children.emplace_back(nlohmann::json{{"has_ended", child.has_ended}});
    if (child.loader->is_stream()) saved["place"] = child.batches.save_state();
  }
  return children;
}

void BatchSource::Iterator::begin_again() {
  auto& child = children_.front();
  child.batches = child.loader->epoch(epoch_);
  child.has_ended = true;
}

bool BatchSource::Iterator::has_begun_again() const {
  return children_.size() == 1 && children_.front().has_ended;
}

bool BatchSource::Iterator::has_next() {
  if (children_.empty()) return false;
  if (children_.size() == 1) return children_.front().batches.has_next();
  const auto more = [](Child& child) { return !child.has_ended && child.batches.has_next(); };
  return source_->mode_ == CombineMode::kMinSize ? std::all_of(children_.begin(), children_.end(), more)
                                                 : std::any_of(children_.begin(), children_.end(), more);
}

std::optional<Batch> BatchSource::Iterator::next() {
  if (children_.empty()) return std::nullopt;
  if (children_.size() == 1) return children_.front().batches.next();
  Nested together;
  for (std::size_t i = 0; i < children_.size(); ++i) {
    auto& child = children_[i];
    auto batch = child.batches.next();
    if (!batch) {
      if (source_->mode_ == CombineMode::kMinSize) return std::nullopt;
      child.has_ended = true;
      if (std::all_of(children_.begin(), children_.end(), [](const Child& c) { return c.has_ended; }))
        return std::nullopt;
      if (source_->mode_ == CombineMode::kMaxSizeCycle) {
        child.batches = child.loader->epoch(epoch_);
        batch = child.batches.next();
      }
    }
    together.items.emplace_back(source_->children_[i].first, batch ? std::move(*batch) : Batch());
  }
  return Batch(std::move(together));
}

}  // namespace rtrain
