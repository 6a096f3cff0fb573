#include "client/addresses.h"

#include <gtest/gtest.h>

namespace tidelog::client_core {
namespace {

TEST(AddressesTest, TakesTheDefaultPortWhereNoneIsGiven) {
  EXPECT_EQ(parse_address("broker.example"), (HostPort{"broker.example", 9700}));
  EXPECT_EQ(parse_address("::1"), (HostPort{"::1", 9700}));
  EXPECT_EQ(parse_address("[::1]"), (HostPort{"::1", 9700}));
}

TEST(AddressesTest, ReadsHostAndPort) {
  EXPECT_EQ(parse_address("127.0.0.1:80"), (HostPort{"127.0.0.1", 80}));
  EXPECT_EQ(parse_address("[fe80::1]:9701"), (HostPort{"fe80::1", 9701}));
  EXPECT_EQ(parse_address("[fe80::1]:9701")->to_string(), "[fe80::1]:9701");
}

TEST(AddressesTest, RefusesWhatIsNoAddressAndSaysSo) {
  for (const char* wrong :
       {"", ":9700", "host:", "host:0", "host:70000", "host:12x", "[::1", "[::1]:"}) {
    const auto address = parse_address(wrong);
    ASSERT_FALSE(address.has_value()) << wrong;
    EXPECT_EQ(address.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(address.error().message().find(wrong), std::string::npos);
  }
}

}  // namespace
}  // namespace tidelog::client_core
