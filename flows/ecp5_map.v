// How adders and small memories are mapped on ECP5, before Yosys' own mapping of them.
//
// Constants cost nothing at most inputs of a LUT, but the carry input of a chain and the addresses of a distributed RAM
// are not among those: nextpnr drives them from one LUT through the whole part (of `small`, 8,000 inputs). It also puts
// two carry cells around each chain, one to bring the constant in and one to bring the last carry out, used or not.

// An adder: one half of the first cell makes the carry, the bits follow, and the half behind the last one brings the carry
// out. (A cell whose outputs nobody reads goes, and synth.tcl disconnects the carry output that led there.)
(* techmap_celltype = "$alu" *)
module carry_chain(A, B, CI, BI, X, Y, CO);
    parameter A_SIGNED = 0;
    parameter B_SIGNED = 0;
    parameter A_WIDTH = 1;
    parameter B_WIDTH = 1;
    parameter Y_WIDTH = 1;

    (* force_downto *)
    input [A_WIDTH-1:0] A;
    (* force_downto *)
    input [B_WIDTH-1:0] B;
    input CI, BI;
    (* force_downto *)
    output [Y_WIDTH-1:0] X, Y, CO;

    wire _TECHMAP_FAIL_ = Y_WIDTH <= 4;  // as in Yosys' own mapping: LUTs are better

    (* force_downto *)
    wire [Y_WIDTH-1:0] a, b;
    \$pos #(.A_SIGNED(A_SIGNED), .A_WIDTH(A_WIDTH), .Y_WIDTH(Y_WIDTH)) a_extended(.A(A), .Y(a));
    \$pos #(.A_SIGNED(B_SIGNED), .A_WIDTH(B_WIDTH), .Y_WIDTH(Y_WIDTH)) b_extended(.A(B), .Y(b));

    wire [Y_WIDTH+1:0] sums;
    carry_cells #(.WIDTH(Y_WIDTH), .BIT(16'h96AA)) cells(  // A + (B ^ C)
        .A(a), .B(b), .C({Y_WIDTH{BI}}), .D({Y_WIDTH{1'b1}}), .CI(CI), .S(sums));

    assign X = a ^ b ^ {Y_WIDTH{BI}};
    assign Y = sums[Y_WIDTH:1];
    assign CO = sums[Y_WIDTH+1:2] ^ ({1'b0, X} >> 1);
endmodule

// A chain with a look-up table of its own for a bit (synth.tcl makes it of an adder and what is in front of it). All operands
// are signed, so that of one bit a flag comes to all places. BI, X, CO: not in use.
module \$__chain (A, B, C, D, CI, BI, X, Y, CO);
    parameter A_SIGNED = 0;
    parameter B_SIGNED = 0;
    parameter A_WIDTH = 1;
    parameter B_WIDTH = 1;
    parameter C_WIDTH = 1;
    parameter D_WIDTH = 1;
    parameter Y_WIDTH = 1;
    parameter [15:0] BIT = 0;

    input [A_WIDTH-1:0] A;
    input [B_WIDTH-1:0] B;
    input [C_WIDTH-1:0] C;
    input [D_WIDTH-1:0] D;
    input CI, BI;
    output [Y_WIDTH-1:0] X, Y, CO;

    wire [Y_WIDTH-1:0] a, b, c, d;
    \$pos #(.A_SIGNED(1), .A_WIDTH(A_WIDTH), .Y_WIDTH(Y_WIDTH)) a_extended(.A(A), .Y(a));
    \$pos #(.A_SIGNED(1), .A_WIDTH(B_WIDTH), .Y_WIDTH(Y_WIDTH)) b_extended(.A(B), .Y(b));
    \$pos #(.A_SIGNED(1), .A_WIDTH(C_WIDTH), .Y_WIDTH(Y_WIDTH)) c_extended(.A(C), .Y(c));
    \$pos #(.A_SIGNED(1), .A_WIDTH(D_WIDTH), .Y_WIDTH(Y_WIDTH)) d_extended(.A(D), .Y(d));

    wire [Y_WIDTH+1:0] sums;
    carry_cells #(.WIDTH(Y_WIDTH), .BIT(BIT)) cells(.A(a), .B(b), .C(c), .D(d), .CI(CI), .S(sums));
    assign Y = sums[Y_WIDTH:1];
endmodule

// The cells of a chain: S[0] is nothing, then come the bits, and the carry out on top. BIT: a bit's look-up table; where it
// gives 0, the carry is what its four lowest entries make of A and B.
module carry_cells(A, B, C, D, CI, S);
    parameter WIDTH = 1;
    parameter [15:0] BIT = 0;
    input [WIDTH-1:0] A, B, C, D;
    input CI;
    output [WIDTH+1:0] S;

    localparam CELLS = (WIDTH + 3) / 2;
    localparam IDLE = 2 * CELLS - WIDTH - 1;  // halves behind the last bit
    localparam [15:0] CARRY_IN = 16'h000A;  // no sum, carry is A
    localparam [15:0] CARRY_OUT = 16'h0000;  // the sum is the carry

    wire [2*CELLS-1:0] a = {{IDLE{1'b1}}, A, CI};
    wire [2*CELLS-1:0] b = {{IDLE{1'b1}}, B, 1'b1};
    wire [2*CELLS-1:0] c = {{IDLE{1'b1}}, C, 1'b1};
    wire [2*CELLS-1:0] d = {{IDLE{1'b1}}, D, 1'b1};
    wire [2*CELLS-1:0] sum;

    genvar i;
    generate for (i = 0; i < CELLS; i = i + 1) begin: cells
        wire carry_in, carry_out;
        if (i == 0)
            assign carry_in = 1'bx;
        else
            assign carry_in = cells[i-1].carry_out;
        CCU2C #(
            .INIT0(i == 0 ? CARRY_IN : 2 * i <= WIDTH ? BIT : CARRY_OUT),
            .INIT1(2 * i + 1 <= WIDTH ? BIT : CARRY_OUT),
            .INJECT1_0("NO"), .INJECT1_1("NO")
        ) chain(
            .A0(a[2*i]), .B0(b[2*i]), .C0(c[2*i]), .D0(d[2*i]),
            .A1(a[2*i+1]), .B1(b[2*i+1]), .C1(c[2*i+1]), .D1(d[2*i+1]),
            .CIN(carry_in), .S0(sum[2*i]), .S1(sum[2*i+1]), .COUT(carry_out));
    end endgenerate

    assign S = sum[WIDTH+1:0];
endmodule

// A memory of fewer than 16 words: the lowest address bit instead of the constant ones, in both addresses, so that each word
// has one place as before. (All words begin with zeros, or with nothing in particular.)
(* techmap_celltype = "TRELLIS_DPR16X4" *)
module few_words(input [3:0] DI, WAD, RAD, input WRE, WCK, output [3:0] DO);
    parameter WCKMUX = "WCK";
    parameter WREMUX = "WRE";
    parameter [63:0] INITVAL = 64'bx;
    parameter _TECHMAP_CONSTMSK_WAD_ = 0;
    parameter _TECHMAP_CONSTMSK_RAD_ = 0;
    parameter _TECHMAP_CONSTVAL_WAD_ = 0;
    parameter _TECHMAP_CONSTVAL_RAD_ = 0;

    localparam [3:0] CONSTANT = _TECHMAP_CONSTMSK_WAD_ & _TECHMAP_CONSTMSK_RAD_;
    wire _TECHMAP_FAIL_ = CONSTANT == 0 || CONSTANT[0] || (|INITVAL) === 1'b1
        || ((_TECHMAP_CONSTVAL_WAD_ ^ _TECHMAP_CONSTVAL_RAD_) & CONSTANT) != 0;

    TRELLIS_DPR16X4 #(.WCKMUX(WCKMUX), .WREMUX(WREMUX), .INITVAL(INITVAL)) _TECHMAP_REPLACE_(
        .DI(DI), .WRE(WRE), .WCK(WCK), .DO(DO),
        .WAD(WAD & ~CONSTANT | {4{WAD[0]}} & CONSTANT),
        .RAD(RAD & ~CONSTANT | {4{RAD[0]}} & CONSTANT));
endmodule
