#include "worker/checkpoint/checked_file.h"

#include "worker/checkpoint/local_file.h"

#include <cerrno>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <utility>

namespace rtrain {
namespace {

constexpr std::uint64_t kTextBytesMax = std::uint64_t{1} << 30;

/// A folder that does not exist.
struct NothingThere final : CheckpointFolder {
  [[nodiscard]] std::unique_ptr<CheckpointFile> open(const std::string&) const override { return nullptr; }
};

}  // namespace

void require_same(const std::filesystem::path& path, const tensors::Checksum& expected,
                  const tensors::Checksum& found) {
  if (found == expected) return;
  throw std::runtime_error(path.string() + ": the file is damaged: it " +
                           tensors::difference_of(found, expected) +
                           ". Take an older checkpoint; if the file was changed on purpose, remove "
                           "checksums.json beside it");
}

std::string read_text(CheckpointFile& file, const std::filesystem::path& path, std::uint64_t bytes_max) {
  if (file.size() > bytes_max)
    throw std::runtime_error(path.string() + ": has " + std::to_string(file.size()) + " bytes, more than " +
                             std::to_string(bytes_max));
  std::string text(file.size(), '\0');
  file.read(0, text.data(), text.size());
  return text;
}

CheckedFolder::CheckedFolder(std::filesystem::path path)
    : CheckedFolder(
          [&]() -> std::unique_ptr<CheckpointFolder> {
            if (auto folder = LocalCheckpointIO().open(path)) return folder;
            return std::make_unique<NothingThere>();
          }(),
          path) {}

CheckedFolder::CheckedFolder(std::unique_ptr<CheckpointFolder> folder, std::filesystem::path path)
    : folder_(std::move(folder)), path_(std::move(path)) {
  const auto file = folder_->open(tensors::kChecksumsFile);
  if (!file) return;
  const auto where = path_ / tensors::kChecksumsFile;
  auto sums = tensors::parse_checksums(read_text(*file, where, kTextBytesMax));
  if (!sums) throw std::runtime_error("checkpoint " + where.string() + ": " + sums.error().message());
  sums_ = std::move(*sums);
}

std::optional<tensors::Checksum> CheckedFolder::expected(const std::string& file) const {
  const auto found = sums_.files.find(file);
  return found == sums_.files.end() ? std::nullopt : std::optional(found->second);
}

bool CheckedFolder::has(const std::string& file) const {
  if (folder_->open(file)) return true;
  if (!expected(file)) return false;
  throw std::runtime_error((path_ / file).string() +
                           ": the file is missing; checksums.json says that the checkpoint has it. Take an "
                           "older checkpoint");
}

std::unique_ptr<CheckpointFile> CheckedFolder::open(const std::string& file) const {
  auto opened = folder_->open(file);
  if (!opened)
    throw std::runtime_error((path_ / file).string() + ": could not open: " + std::strerror(ENOENT));
  return opened;
}

std::map<std::string, torch::Tensor> CheckedFolder::load(const std::string& file) const {
  return read_safetensors(*open(file), path_ / file, expected(file)).tensors;
}

StateTree CheckedFolder::load_part(const std::string& file, const ChooseElements& choose,
                                   const PartReaders& readers) const {
  const auto where = path_ / file;
  const auto sum = expected(file);
  StateTree tree;
  std::optional<Crc32cPieces> read;
  std::exception_ptr failure;
  try {
    const auto opened = open(file);
    if (sum && opened->size() != sum->bytes) require_same(where, *sum, {opened->size(), 0});
    read.emplace(opened->size());
    tree = read_part(*opened, where, choose, readers.is_first, *read);
  } catch (...) {
    failure = std::current_exception();
    read.reset();
  }
  // Also without a checksum: a rank that goes on alone would wait for the others for ever.
  const auto all = readers.exchange(read ? std::optional(read->state()) : std::nullopt);
  if (failure) std::rethrow_exception(failure);
  Crc32cPieces joined(sum ? sum->bytes : 0);
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    if (!all[rank])
      throw std::runtime_error(where.string() + ": rank " + std::to_string(rank) +
                               " of those that hold a copy of the model could not read its part; its error "
                               "says why");
    joined.join(*all[rank]);
  }
  if (!sum) return tree;
  if (joined.added() != sum->bytes)
    throw std::logic_error(where.string() + ": the ranks have read " + std::to_string(joined.added()) +
                           " bytes together, and the file has " + std::to_string(sum->bytes));
  require_same(where, *sum, {sum->bytes, joined.value()});
  return tree;
}

std::string CheckedFolder::text(const std::string& file) const {
  const auto path = path_ / file;
  auto read = read_text(*open(file), path, kTextBytesMax);
  if (const auto sum = expected(file)) require_same(path, *sum, tensors::checksum_of_text(read));
  return read;
}

}  // namespace rtrain
