// Samples from tar archives: WebDataset.
#pragma once

#include <rtrain/data/image_io.h>
#include <rtrain/data/iterable_dataset.h>
#include <rtrain/data/sample_context.h>
#include <rtrain/data/transforms.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rtrain::data {

/// The files of one sample: those that stand one after the other with the same name up to its first dot.
struct RTRAIN_API TarSample {
  std::string key;      ///< "photos/0001" of photos/0001.jpg and photos/0001.cls
  std::string archive;  ///< path
  std::map<std::string, std::string>
      fields;  ///< content by what stands behind the first dot: "jpg", "seg.png"

  /// The first that there is of `names` ("jpg;jpeg;png"). @throws SampleError there is none (names those that
  /// are).
  [[nodiscard]] const std::string& field(const std::string& names) const;
  /// Archive and key, for messages.
  [[nodiscard]] std::string name() const { return archive + ": " + key; }
};

struct RTRAIN_API WebDatasetOptions {
  bool shuffle_shards = false;         ///< another order of archives each epoch, by the loader's seed + epoch
  std::int64_t shuffle_buffer = 0;     ///< samples that wait, of which each next one is drawn; 0: in order
  OnError on_error = OnError::kRaise;  ///< of samples, and of the rest of an archive that is broken
  std::optional<std::int64_t> size{};  ///< samples of all archives together, if it is known
};

/// The archives, before samples are decoded.
class RTRAIN_API TarShards {
 public:
  /// @param paths with braces: "train-{000..099}.tar", "{a,b}.tar".
  /// @throws std::invalid_argument there is none, or an option is out of its range.
  TarShards(const std::vector<std::string>& paths, WebDatasetOptions options);
  ~TarShards();
  TarShards(const TarShards&) = delete;
  TarShards& operator=(const TarShards&) = delete;

  [[nodiscard]] const std::vector<std::string>& archives() const { return archives_; }
  [[nodiscard]] const WebDatasetOptions& options() const { return options_; }
  /// @throws std::runtime_error fewer archives than ranks.
  [[nodiscard]] std::unique_ptr<Stream<TarSample>> open(const Shard& shard, std::int64_t epoch) const;
  /// Counts it if on_error is kSkip. @return false: it must be thrown.
  [[nodiscard]] bool skip(const std::string& name, const std::string& why) const;
  [[nodiscard]] std::int64_t skipped() const;
  /// What random transforms of a sample draw from: by seed, epoch, archive and key.
  [[nodiscard]] static std::int64_t index_of(const TarSample& sample);

 private:
  std::vector<std::string> archives_;
  WebDatasetOptions options_;
  struct Broken;
  const std::unique_ptr<Broken> broken_;
};

/// webdataset.WebDataset(urls).shuffle(n).map(decode): plain or gzipped tar archives (ustar, pax and GNU
/// names), each read from front to back. Archives are dealt out to ranks, and those of a rank to the threads
/// of its loader; a thread beyond the number of archives has nothing to do. A run that resumes reads the
/// archive of its place again up to there, without decoding; with a shuffle_buffer, all that its thread had
/// read in the epoch.
template <class Sample>
class WebDataset : public IterableDataset<Sample> {
 public:
  /// @throws SampleError what is broken; kSkip leaves that sample out. @thread several at the same time.
  using Decode = std::function<Sample(const TarSample&, const SampleContext&)>;

  /// @throws std::invalid_argument there is no path, or an option is out of its range.
  WebDataset(const std::vector<std::string>& paths, Decode decode, WebDatasetOptions options = {})
      : shards_(paths, std::move(options)), decode_(std::move(decode)) {}

  [[nodiscard]] const std::vector<std::string>& archives() const { return shards_.archives(); }
  /// Samples, and broken archives, that kSkip has left out so far.
  [[nodiscard]] std::int64_t skipped() const { return shards_.skipped(); }
  [[nodiscard]] std::optional<std::int64_t> size() const override { return shards_.options().size; }
  [[nodiscard]] std::unique_ptr<Stream<Sample>> open(const Shard& shard, std::int64_t epoch) const override {
    return std::make_unique<Decoded>(*this, shards_.open(shard, epoch),
                                     SampleContext{.seed = shard.seed, .epoch = epoch});
  }

 private:
  class Decoded final : public Stream<Sample> {
   public:
    Decoded(const WebDataset& set, std::unique_ptr<Stream<TarSample>> raw, SampleContext context)
        : set_(set), raw_(std::move(raw)), context_(context) {}
    [[nodiscard]] std::optional<Sample> next() override {
      while (auto raw = raw_->next()) {
        try {
          return set_.decode_(*raw, context_);
        } catch (const SampleError& error) {
          const auto why = raw->name() + ": " + error.what();
          if (!set_.shards_.skip(raw->name(), why)) throw SampleError(why);
        }
      }
      return std::nullopt;
    }
    [[nodiscard]] nlohmann::json save_state() const override { return raw_->save_state(); }
    void load_state(const nlohmann::json& state) override { raw_->load_state(state); }

   private:
    const WebDataset& set_;
    std::unique_ptr<Stream<TarSample>> raw_;
    SampleContext context_;
  };

  TarShards shards_;
  Decode decode_;
};

struct RTRAIN_API WebImagesOptions {
  std::string image = "jpg;jpeg;png;ppm;bmp";  ///< the first field that a sample has
  std::string target = "cls";                  ///< a whole number as text
  std::shared_ptr<const transforms::Transform>
      transform{};  ///< of each image, as ImageFolder's; null: ToTensor()
  DecodeOptions decode{};
  WebDatasetOptions shards{};
};

/// Images [C, H, W] with the number of their class (int64): .decode("rgb").to_tuple("jpg;png", "cls").
/// @throws as WebDataset.
[[nodiscard]] RTRAIN_API std::shared_ptr<WebDataset<std::pair<torch::Tensor, std::int64_t>>> WebImages(
    const std::vector<std::string>& paths, WebImagesOptions options = {});

}  // namespace rtrain::data
