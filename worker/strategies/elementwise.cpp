#include "worker/strategies/elementwise.h"

#include "worker/optim/chain.h"

#include <stdexcept>

namespace rtrain {

void require_elementwise(const Optimizer& optimizer, const std::string& who, const std::string& cannot,
                         const std::string& instead) {
  if (optimizer.is_elementwise()) return;
  throw std::invalid_argument(
      who + ": " + optim::first_not_elementwise(optimizer) + " " + cannot +
      ", because what it does to one element depends on the others (Optimizer::is_elementwise()): use SGD, "
      "Adam, AdamW or another optimizer that treats each element by itself" +
      instead);
}

}  // namespace rtrain
