#include "worker/data/lead.h"

#include "tests/support/catch.h"

#include <vector>

namespace lead_test {

using namespace rtrain;

namespace {

struct FakeEvent {
  int number;
  std::vector<int>* waited;
  void synchronize() const { waited->push_back(number); }
};

}  // namespace

TEST_CASE("lead: the host waits for the batch of eight before, and for no later one", "[unit][data]") {
  std::vector<int> waited;
  data::Lead<FakeEvent> lead;
  for (int batch = 0; batch < 8; ++batch) lead.advance({batch, &waited});
  CHECK(waited.empty());
  for (int batch = 8; batch < 20; ++batch) {
    lead.advance({batch, &waited});
    CHECK(waited.size() == static_cast<std::size_t>(batch) - 7);
    CHECK(waited.back() == batch - 8);
  }
}

}  // namespace lead_test
