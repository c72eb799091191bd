#include <rtrain/data/image_folder.h>

#include "worker/data/apply_transform.h"
#include "worker/data/broken_samples.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <stdexcept>
#include <utility>

namespace rtrain::data {
namespace {

namespace fs = std::filesystem;

bool is_wanted(const fs::path& file, const std::vector<std::string>& extensions) {
  auto name = file.filename().string();
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::any_of(extensions.begin(), extensions.end(), [&](const auto& e) { return name.ends_with(e); });
}

/// torchvision's make_dataset(): the folders below `folder` sorted by their whole paths, and in each the
/// files by name. Links to folders are followed; one that leads back to where it stands is entered no more.
std::vector<fs::path> images_below(const fs::path& folder, const std::vector<std::string>& extensions) {
  std::vector<std::string> folders;
  std::set<fs::path> entered;
  const auto enter = [&](const auto& self, const fs::path& path) -> void {
    const auto real = fs::canonical(path);
    if (!entered.insert(real).second) return;
    folders.push_back(path.string());
    for (const auto& entry : fs::directory_iterator(path))
      if (entry.is_directory()) self(self, entry.path());
    entered.erase(real);
  };
  enter(enter, folder);
  std::sort(folders.begin(), folders.end());
  std::vector<fs::path> images;
  for (const auto& one : folders) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(one))
      if (!entry.is_directory() && is_wanted(entry.path(), extensions))
        names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    for (const auto& name : names) images.push_back(fs::path(one) / name);
  }
  return images;
}

std::string list_of(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

}  // namespace

struct ImageFolder::Broken : BrokenSamples {
  using BrokenSamples::BrokenSamples;
};

ImageFolder::ImageFolder(const fs::path& root, ImageFolderOptions options)
    : options_(std::move(options)), broken_(std::make_unique<Broken>("ImageFolder")) {
  options_.transform = or_to_tensor(std::move(options_.transform));
  std::error_code error;
  if (!fs::is_directory(root, error))
    throw std::runtime_error("ImageFolder: there is no folder " +
                             fs::absolute(root).lexically_normal().string());
  for (const auto& entry : fs::directory_iterator(root))
    if (entry.is_directory()) classes_.push_back(entry.path().filename().string());
  if (classes_.empty())
    throw std::runtime_error("ImageFolder: " + root.string() +
                             " has no folder in it; images of a class belong into a folder of its own");
  std::sort(classes_.begin(), classes_.end());
  std::vector<std::string> empty;
  for (std::size_t number = 0; number < classes_.size(); ++number) {
    auto images = images_below(root / classes_[number], options_.extensions);
    if (images.empty()) empty.push_back(classes_[number]);
    for (auto& path : images) samples_.emplace_back(std::move(path), static_cast<std::int64_t>(number));
  }
  if (!empty.empty() && !options_.allow_empty)
    throw std::runtime_error("ImageFolder: no file in " + root.string() + " for the class" +
                             (empty.size() > 1 ? "es " : " ") + list_of(empty) + "; read are " +
                             list_of(options_.extensions) +
                             "; allow_empty = true accepts classes without files");
}

ImageFolder::~ImageFolder() = default;

std::map<std::string, std::int64_t> ImageFolder::class_to_idx() const {
  std::map<std::string, std::int64_t> numbers;
  for (const auto& name : classes_) numbers.emplace(name, static_cast<std::int64_t>(numbers.size()));
  return numbers;
}

std::int64_t ImageFolder::skipped() const { return broken_->count(); }

ImageFolder::SampleType ImageFolder::get(std::int64_t index, const SampleContext& context) const {
  if (index < 0 || index >= size())
    throw std::out_of_range("ImageFolder: sample " + std::to_string(index) + " of " + std::to_string(size()));
  const auto& [path, target] = samples_[static_cast<std::size_t>(index)];
  return {transformed_image(*options_.transform, read_image(path, options_.decode), index, context), target};
}

Batch ImageFolder::get_batch(std::span<const std::int64_t> indices, const SampleContext& context) const {
  if (options_.on_error == OnError::kRaise) return MapDataset::get_batch(indices, context);
  std::vector<SampleType> samples;
  std::string last;
  for (const auto index : indices) {
    try {
      samples.push_back(get(index, context));
    } catch (const SampleError& error) {
      last = error.what();
      broken_->skip(samples_[static_cast<std::size_t>(index)].first.string(), last);
    }
  }
  if (samples.empty())
    throw SampleError("ImageFolder: no image of a batch of " + std::to_string(indices.size()) +
                      " can be read; the last: " + last);
  return collate(samples);
}

}  // namespace rtrain::data
