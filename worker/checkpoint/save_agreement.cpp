#include "worker/checkpoint/save_agreement.h"

#include <stdexcept>
#include <utility>

namespace rtrain {
namespace {

constexpr const char* kPlaces[] = {"begun", "written", "published"};

std::string prefix_of_save(std::int64_t number) { return "save/" + std::to_string(number) + "/"; }

}  // namespace

SaveAgreement::SaveAgreement(runtime::KeyValueStore& store, std::int64_t number, int rank, int world_size,
                             std::function<bool()> wait_more)
    : store_(store),
      number_(number),
      rank_(rank),
      world_size_(world_size),
      wait_more_(std::move(wait_more)) {}

void SaveAgreement::meet(const std::string& place) {
  const auto prefix = prefix_of_save(number_);
  store_.set(prefix + place + "/" + std::to_string(rank_), "");
  for (int other = 0; other < world_size_; ++other) {
    while (!store_.get(prefix + place + "/" + std::to_string(other))) {
      if (const auto failed = store_.get(prefix + "failed"))
        throw std::runtime_error("the checkpoint is not written: " + *failed);
      if (!wait_more_())
        throw std::runtime_error("the checkpoint is not written: rank " + std::to_string(other) +
                                 " did not come to write its part");
    }
  }
  if (place != kPlaces[0] || number_ == 1) return;
  for (const auto* before : kPlaces)
    store_.remove(prefix_of_save(number_ - 1) + before + "/" + std::to_string(rank_));
}

void SaveAgreement::fail(const std::string& why) {
  store_.set(prefix_of_save(number_) + "failed", "rank " + std::to_string(rank_) + ": " + why);
}

}  // namespace rtrain
