#include "worker/parallel/require.h"

#include <stdexcept>

namespace rtrain::parallel {

void require_divides(const std::string& what, std::int64_t size, std::int64_t ranks) {
  if (size % ranks == 0) return;
  throw std::invalid_argument(what + " is " + std::to_string(size) + ", which " + std::to_string(ranks) +
                              " ranks cannot share equally: choose a multiple of " + std::to_string(ranks));
}

void require_positive(const std::string& what, std::int64_t size) {
  if (size >= 1) return;
  throw std::invalid_argument(what + " is " + std::to_string(size) + ", expected 1 or more");
}

const Group& required(const std::string& what, const Group& group) {
  if (group != nullptr) return group;
  throw std::invalid_argument(what +
                              ": the group is null; take device_mesh().shared_group(Axis::kTensor) or "
                              "(Axis::kContext) of the module, or Communicator::alone()");
}

}  // namespace rtrain::parallel
