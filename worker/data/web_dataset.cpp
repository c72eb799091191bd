#include <rtrain/data/web_dataset.h>

#include "worker/data/apply_transform.h"
#include "worker/data/broken_samples.h"
#include "worker/data/draws.h"
#include "worker/data/tar_reader.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <random>
#include <span>
#include <stdexcept>
#include <string_view>

namespace rtrain::data {
namespace {

/// "a{00..02}.tar" and "a{x,y}.tar", as a shell and WebDataset expand them.
void expand(const std::string& pattern, std::vector<std::string>& into) {
  const auto open = pattern.find('{');
  const auto close = open == std::string::npos ? open : pattern.find('}', open);
  if (close == std::string::npos) return into.push_back(pattern);
  const auto before = pattern.substr(0, open), within = pattern.substr(open + 1, close - open - 1),
             behind = pattern.substr(close + 1);
  if (const auto dots = within.find(".."); dots != std::string::npos) {
    const auto number = [&](const std::string& text) {
      std::int64_t value = -1;
      const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
      if (end.ec != std::errc() || end.ptr != text.data() + text.size() || value < 0)
        throw std::invalid_argument("WebDataset: {" + within + "} in \"" + pattern +
                                    "\": expected two numbers, as in {000..099}");
      return value;
    };
    const auto first_text = within.substr(0, dots);
    const auto first = number(first_text), last = number(within.substr(dots + 2));
    if (last - first >= 10'000'000)
      throw std::invalid_argument("WebDataset: {" + within + "} in \"" + pattern + "\" names too many files");
    for (auto i = first; i <= last; ++i) {
      auto digits = std::to_string(i);
      if (digits.size() < first_text.size()) digits.insert(0, first_text.size() - digits.size(), '0');
      expand(before + digits + behind, into);
    }
    return;
  }
  for (std::size_t at = 0; at <= within.size();) {
    const auto comma = std::min(within.find(',', at), within.size());
    expand(before + within.substr(at, comma - at) + behind, into);
    at = comma + 1;
  }
}

/// "photos/1.seg.png" is the field "seg.png" of "photos/1". WebDataset's rule; a name without a dot is none.
std::optional<std::pair<std::string, std::string>> key_and_field(const std::string& name) {
  const auto slash = name.rfind('/');
  const auto base = slash == std::string::npos ? 0 : slash + 1;
  const auto dot = name.find('.', base);
  if (dot == std::string::npos || dot == base) return std::nullopt;
  auto field = name.substr(dot + 1);
  std::transform(field.begin(), field.end(), field.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::pair(name.substr(0, dot), std::move(field));
}

/// The samples of some archives, one after the other.
class ArchiveSamples final : public Stream<TarSample> {
 public:
  ArchiveSamples(const TarShards& shards, std::vector<std::string> archives)
      : shards_(shards), archives_(std::move(archives)) {}

  [[nodiscard]] std::optional<TarSample> next() override {
    while (archive_ < archives_.size()) {
      try {
        auto sample = next_of_archive();
        if (sample) {
          ++samples_;
          return sample;
        }
      } catch (const SampleError& error) {
        if (!shards_.skip(archives_[archive_], error.what())) throw;
      }
      end_archive();
    }
    return std::nullopt;
  }
  [[nodiscard]] nlohmann::json save_state() const override {
    return {{"archive", archive_}, {"samples", samples_}};
  }
  void load_state(const nlohmann::json& state) override {
    archive_ = state.at("archive").get<std::size_t>();
    const auto samples = state.at("samples").get<std::int64_t>();
    const auto archive = archive_;
    while (archive_ == archive && samples_ < samples && next()) {
    }
  }

 private:
  std::optional<TarSample> next_of_archive() {
    const auto& path = archives_[archive_];
    if (!reader_) reader_.emplace(path);
    TarSample sample;
    while (true) {
      std::optional<std::pair<std::string, std::string>> name;
      if (waiting_) {
        name = std::exchange(waiting_, std::nullopt);
      } else {
        const auto member = reader_->next();
        if (!member) return sample.fields.empty() ? std::nullopt : std::optional(std::move(sample));
        name = key_and_field(member->name);
        if (!name) continue;
        if (!sample.fields.empty() && name->first != sample.key) {
          waiting_ = std::move(name);
          return sample;
        }
      }
      sample.archive = path;
      sample.key = name->first;
      if (!sample.fields.emplace(name->second, reader_->content()).second)
        throw SampleError(path + ": " + sample.key + "." + name->second + " is in it twice");
    }
  }
  void end_archive() {
    reader_.reset();
    waiting_.reset();
    samples_ = 0;
    ++archive_;
  }

  const TarShards& shards_;
  const std::vector<std::string> archives_;
  std::size_t archive_ = 0;
  std::int64_t samples_ = 0;  ///< given of this archive
  std::optional<TarReader> reader_;
  std::optional<std::pair<std::string, std::string>> waiting_;  ///< the first file of the next sample
};

/// Each next sample is drawn among those that wait.
class ShuffledSamples final : public Stream<TarSample> {
 public:
  ShuffledSamples(std::unique_ptr<Stream<TarSample>> ordered, std::int64_t buffer, std::uint64_t seed)
      : ordered_(std::move(ordered)), buffer_(static_cast<std::size_t>(buffer)), draws_(seed) {}
  [[nodiscard]] std::optional<TarSample> next() override {
    while (!ended_ && waiting_.size() < buffer_) {
      auto sample = ordered_->next();
      ended_ = !sample;
      if (sample) waiting_.push_back(std::move(*sample));
    }
    if (waiting_.empty()) return std::nullopt;
    std::swap(waiting_[draws_() % waiting_.size()], waiting_.back());
    auto sample = std::move(waiting_.back());
    waiting_.pop_back();
    ++given_;
    return sample;
  }
  [[nodiscard]] nlohmann::json save_state() const override { return {{"given", given_}}; }
  void load_state(const nlohmann::json& state) override {
    for (auto left = state.at("given").get<std::int64_t>(); left > 0 && next(); --left) {
    }
  }

 private:
  std::unique_ptr<Stream<TarSample>> ordered_;
  std::size_t buffer_;
  std::mt19937_64 draws_;
  std::vector<TarSample> waiting_;
  bool ended_ = false;
  std::int64_t given_ = 0;
};

std::int64_t class_of(const std::string& text) {
  std::string_view digits(text);
  while (!digits.empty() && std::isspace(static_cast<unsigned char>(digits.back())) != 0)
    digits.remove_suffix(1);
  std::int64_t value = 0;
  const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (digits.empty() || end.ec != std::errc() || end.ptr != digits.data() + digits.size())
    throw SampleError("the target is \"" + text.substr(0, 40) + "\", expected a whole number");
  return value;
}

}  // namespace

const std::string& TarSample::field(const std::string& names) const {
  for (std::size_t at = 0; at <= names.size();) {
    const auto end = std::min(names.find(';', at), names.size());
    if (const auto found = fields.find(names.substr(at, end - at)); found != fields.end())
      return found->second;
    at = end + 1;
  }
  std::string known;
  for (const auto& [name, content] : fields) known += (known.empty() ? "" : ", ") + name;
  throw SampleError("no field " + names + "; it has " + known);
}

struct TarShards::Broken : BrokenSamples {
  using BrokenSamples::BrokenSamples;
};

TarShards::TarShards(const std::vector<std::string>& paths, WebDatasetOptions options)
    : options_(options), broken_(std::make_unique<Broken>("WebDataset")) {
  for (const auto& path : paths) expand(path, archives_);
  if (archives_.empty()) throw std::invalid_argument("WebDataset: no archive given");
  if (options_.shuffle_buffer < 0)
    throw std::invalid_argument("WebDataset: shuffle_buffer is " + std::to_string(options_.shuffle_buffer) +
                                ", expected 0 (in order) or more");
}

TarShards::~TarShards() = default;

std::unique_ptr<Stream<TarSample>> TarShards::open(const Shard& shard, std::int64_t epoch) const {
  if (archives_.size() < static_cast<std::size_t>(shard.ranks))
    throw std::runtime_error("WebDataset: " + std::to_string(archives_.size()) + " archive(s) for " +
                             std::to_string(shard.ranks) +
                             " ranks: each needs one or more; cut the data into more archives");
  auto order = archives_;
  if (options_.shuffle_shards) {
    const auto places =
        permutation(static_cast<std::int64_t>(archives_.size()), seed_of_epoch(shard.seed, epoch));
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = archives_[static_cast<std::size_t>(places[i])];
  }
  // Of rank r the archives r, r + ranks, ...; of those each thread has every workers-th.
  std::vector<std::string> own;
  const auto step = static_cast<std::size_t>(shard.ranks) * static_cast<std::size_t>(shard.workers);
  for (auto i = static_cast<std::size_t>(shard.rank) +
                static_cast<std::size_t>(shard.worker) * static_cast<std::size_t>(shard.ranks);
       i < order.size(); i += step)
    own.push_back(order[i]);
  auto samples = std::make_unique<ArchiveSamples>(*this, std::move(own));
  if (options_.shuffle_buffer == 0) return samples;
  const SampleContext context{.seed = shard.seed, .epoch = epoch};
  return std::make_unique<ShuffledSamples>(std::move(samples), options_.shuffle_buffer,
                                           context.seed_of(shard.index()));
}

bool TarShards::skip(const std::string& name, const std::string& why) const {
  if (options_.on_error == OnError::kRaise) return false;
  broken_->skip(name, why);
  return true;
}

std::int64_t TarShards::skipped() const { return broken_->count(); }

std::int64_t TarShards::index_of(const TarSample& sample) {
  std::uint64_t hash = 14695981039346656037u;  // FNV-1a
  for (const char c : sample.name()) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return static_cast<std::int64_t>(hash);
}

std::shared_ptr<WebDataset<std::pair<torch::Tensor, std::int64_t>>> WebImages(
    const std::vector<std::string>& paths, WebImagesOptions options) {
  using Set = WebDataset<std::pair<torch::Tensor, std::int64_t>>;
  const auto shards = options.shards;
  options.transform = or_to_tensor(std::move(options.transform));
  return std::make_shared<Set>(
      paths,
      [o = std::move(options)](const TarSample& sample, const SampleContext& context) {
        const auto& bytes = sample.field(o.image);
        auto image =
            decode_image({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, o.decode);
        const auto target = class_of(sample.field(o.target));
        return std::pair(transformed_image(*o.transform, image, TarShards::index_of(sample), context),
                         target);
      },
      shards);
}

}  // namespace rtrain::data
