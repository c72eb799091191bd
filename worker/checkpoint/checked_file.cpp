#include "worker/checkpoint/checked_file.h"

#include "common/os/file.h"

#include <stdexcept>
#include <utility>

namespace rtrain {

void require_same(const std::filesystem::path& path, const tensors::Checksum& expected,
                  const tensors::Checksum& found) {
  if (found == expected) return;
  throw std::runtime_error(path.string() + ": the file is damaged: it " +
                           tensors::difference_of(found, expected) +
                           ". Take an older checkpoint; if the file was changed on purpose, remove "
                           "checksums.json beside it");
}

CheckedFolder::CheckedFolder(std::filesystem::path path) : path_(std::move(path)) {
  auto read = tensors::read_checksums(path_.string());
  if (read)
    sums_ = std::move(*read);
  else if (read.error().code() != Errc::kNotFound)
    throw std::runtime_error("checkpoint " + read.error().message());
}

std::optional<tensors::Checksum> CheckedFolder::expected(const std::string& file) const {
  const auto found = sums_.files.find(file);
  return found == sums_.files.end() ? std::nullopt : std::optional(found->second);
}

bool CheckedFolder::has(const std::string& file) const {
  if (std::filesystem::exists(path_ / file)) return true;
  if (!expected(file)) return false;
  throw std::runtime_error((path_ / file).string() +
                           ": the file is missing; checksums.json says that the checkpoint has it. Take an "
                           "older checkpoint");
}

std::map<std::string, torch::Tensor> CheckedFolder::load(const std::string& file) const {
  return load_checked(path_ / file, expected(file)).tensors;
}

std::string CheckedFolder::text(const std::string& file) const {
  const auto path = path_ / file;
  auto read = os::read_file(path.string(), std::size_t{1} << 30);
  if (!read) throw std::runtime_error("checkpoint " + read.error().message());
  if (const auto sum = expected(file)) require_same(path, *sum, tensors::checksum_of_text(*read));
  return std::move(*read);
}

}  // namespace rtrain
